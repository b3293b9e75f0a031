"""AlexNet, with the two groups that once lay on two graphics cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

Norm = Literal["response", "batch"]
NORMS: Final[tuple[Norm, ...]] = get_args(Norm)

GROUPS: Final = 2
SMALLEST_MAP: Final = 6
"""Side of the last map at the article's input size, 227; no input size gives less."""


@dataclass(frozen=True, slots=True)
class Stem:
    """How conv1 looks at the images, and which pools follow.

    Attributes:
        kernel: side of conv1's kernels.
        stride: of conv1.
        padding: of conv1, zeros on each side.
        pools: the layers after which a pool stands.
        input_size: side of the images it is built for.
        map_size: side of the map that conv1 and the pools leave for fc6.
    """

    kernel: int
    stride: int
    padding: int
    pools: tuple[int, ...]
    map_size: int


_CANDIDATES: Final = (
    (11, 4, (1, 2, 5)),
    (7, 2, (1, 2, 5)),
    (5, 1, (1, 2, 5)),
    (5, 1, (2, 5)),
    (5, 1, (5,)),
    (5, 1, ()),
)
"""Kernel and stride of conv1, and the pools: from the article's own to none, each reducing the image less."""


class AlexNet(nn.Module):
    r"""Build AlexNet: five convolutions, the second, fourth and fifth in two groups, and three linear layers.

    | layer | kernels | after it |
    |---|---|---|
    | conv1 | 96 of 11 x 11, stride 4 | ReLU, response normalisation, pool |
    | conv2 | 256 of 5 x 5, two groups | ReLU, response normalisation, pool |
    | conv3 | 384 of 3 x 3 | ReLU |
    | conv4 | 384 of 3 x 3, two groups | ReLU |
    | conv5 | 256 of 3 x 3, two groups | ReLU, pool |
    | fc6, fc7 | 4096 | ReLU, dropout |
    | fc8 | one for each class | |

    Pools take the maximum of 3 x 3 windows every 2 positions. Units of the first half of conv1 reach those of the first
    half of conv2 and no others, and so do the second halves: two branches, which meet in conv3.

    Smaller images get a smaller stem (`stem_for`), so that conv5 and the last map keep about the article's size: 7 x 7
    kernels with stride 2, then 5 x 5 with stride 1, then without pool1, without pool2, without pool5; of these, and of
    conv1's paddings from none to half its kernel, the first that leaves 6 x 6 or more for fc6. So 227 gives the
    article's network, 224 the same with a padding of 2, and 32 has 5 x 5 kernels, pool2 and pool5, and 6 x 6 again.

    With one group it is the same network on one card: the twin without branches, whose conv2, conv4 and conv5 have
    twice the weights.

    Response normalisation came before batch normalisation, without which AlexNet needs many epochs to learn. With
    `norm="batch"` each of the five convolutions has a batch norm between it and its ReLU instead, and no bias, and the
    weights start from PyTorch's own law: behind a batch norm their scale matters only to how fast they turn.

    Modules, in order: conv1, relu1, norm1, pool1, conv2, ..., relu5, pool5, flatten, fc6, relu6, drop6, fc7, relu7,
    drop7, fc8; pools that are dropped are absent, and batch norms (norm1 to norm5) stand before their ReLU.

    Args:
        width: multiplies the units of every layer but the last, rounded to even numbers, two at least.
        input_size: side of the images, 6 or more.
        classes: outputs of fc8.
        in_channels: channels of the images.
        dropout: probability that a unit of fc6 and fc7 is dropped in training.
        groups: of conv2, conv4, conv5 and both response normalisations: 2, the article's, or 1.
        norm: "response", the article's, or "batch".
        seed: fixes the initial weights; the global generator is left as it was.

    Attributes:
        stem: kernel, stride and padding of conv1, and the pools that are kept.
        dropped_pools: names of the article's pools that this input size drops.
        map_size: side of the map under fc6.

    Shape:
        (batch, in_channels, input_size, input_size), float, to (batch, classes), logits. fc6's weight reshapes to
        (units, channels of conv5, map_size, map_size).

    Raises:
        ValueError: the input is below 6 x 6, `width` is not positive, `groups` is neither 1 nor 2, or there is no such
            `norm`.

    **Source:** Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks
    (NeurIPS 2012), section 3. It says 224 where its figures need 227. Its weights start from a normal law of standard
    deviation .01, which only fits its width; ours from He's law (2015), biases from 0. Response normalisation stays
    within a group, as on the authors' two cards: across all channels it would join the branches at their border. For
    both articles this is the network without pooling before its linear layers, and with branches.

    Example:
        >>> network = AlexNet(width=0.125, input_size=32, classes=10)
        >>> network.stem
        Stem(kernel=5, stride=1, padding=0, pools=(2, 5), map_size=6)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        input_size: int = 227,
        classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        groups: int = GROUPS,
        norm: Norm = "response",
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(width, groups, norm)
        batch_norm = norm == "batch"
        stem = stem_for(input_size)
        channels = in_channels
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            for number, units, kernel, parts in (
                (1, 96, stem.kernel, 1),
                (2, 256, 5, groups),
                (3, 384, 3, 1),
                (4, 384, 3, groups),
                (5, 256, 3, groups),
            ):
                kept = _scaled(units, width)
                stride, padding = (stem.stride, stem.padding) if number == 1 else (1, kernel // 2)
                convolution = nn.Conv2d(channels, kept, kernel, stride, padding, groups=parts, bias=not batch_norm)
                self.add_module(f"conv{number}", convolution)
                if batch_norm:
                    self.add_module(f"norm{number}", nn.BatchNorm2d(kept))
                self.add_module(f"relu{number}", nn.ReLU())
                if number <= 2 and not batch_norm:
                    self.add_module(f"norm{number}", GroupedResponseNorm(groups))
                if number in stem.pools:
                    self.add_module(f"pool{number}", nn.MaxPool2d(3, stride=2))
                channels = kept
            self.add_module("flatten", nn.Flatten())
            features = channels * stem.map_size**2
            for number in (6, 7):
                kept = _scaled(4096, width)
                self.add_module(f"fc{number}", nn.Linear(features, kept))
                self.add_module(f"relu{number}", nn.ReLU())
                self.add_module(f"drop{number}", nn.Dropout(dropout))
                features = kept
            self.add_module("fc8", nn.Linear(features, classes))
            if not batch_norm:
                torch.default_generator.manual_seed(seed)  # with and without groups conv1 starts from the same weights
                _initialise(self)
        self.stem = stem
        self.dropped_pools = tuple(f"pool{number}" for number in (1, 2, 5) if number not in stem.pools)
        self.input_size = input_size
        self.map_size = stem.map_size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = images
        for module in self.children():
            features = module(features)
        return features


class GroupedResponseNorm(nn.Module):
    r"""Divide each value by a power of the energy of its neighbouring channels, within its group.

    $$b_c = a_c \Bigl(k + \alpha \sum_{j = c - n/2}^{c + n/2} a_j^2\Bigr)^{-\beta}$$

    over the n = 5 channels around c that lie in the same group of the channels; k = 2, alpha = 1e-4, beta = .75.

    Args:
        groups: how many runs of consecutive channels are kept apart.

    Shape:
        (batch, C, H, W), C a multiple of the groups, to the same.

    **Source:** Krizhevsky et al. 2012, section 3.3, with its constants. `torch.nn.LocalResponseNorm` divides alpha by
    n, so it is given five times the article's. That groups are kept apart is what two cards do; the text does not say.

    Example:
        >>> GroupedResponseNorm()(torch.full((1, 2, 1, 1), 100.0)).flatten()
        tensor([43.8691, 43.8691])
    """

    def __init__(self, groups: int = GROUPS) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise each group of the channels."""
        batch, channels, height, width = features.shape
        apart = features.reshape(batch * self.groups, channels // self.groups, height, width).contiguous()
        # float16 ends at 65504: the square of 256 would be infinite.
        wide = apart.float() if apart.dtype == torch.float16 else apart
        normalised = functional.local_response_norm(wide, 5, alpha=5e-4, beta=0.75, k=2.0)
        return normalised.view_as(features).to(features.dtype)


def stem_for(input_size: int) -> Stem:
    """The kernel, stride and padding of conv1 and the pools for images of a size: the first that leaves 6 x 6 or more.

    Args:
        input_size: side of the images.

    Raises:
        ValueError: the images are below 6 x 6.

    Example:
        >>> stem_for(227)
        Stem(kernel=11, stride=4, padding=0, pools=(1, 2, 5), map_size=6)
        >>> [stem_for(size).map_size for size in (24, 32, 64, 224)]
        [9, 6, 6, 6]
    """
    for kernel, stride, pools in _CANDIDATES:
        for padding in range(kernel // 2 + 1):
            side = (input_size + 2 * padding - kernel) // stride + 1
            for _ in pools:
                side = (side - 3) // 2 + 1
            if side >= SMALLEST_MAP:
                return Stem(kernel, stride, padding, pools, side)
    message = f"images of {input_size} x {input_size} are too small: AlexNet needs {SMALLEST_MAP} x {SMALLEST_MAP}"
    raise ValueError(message)


def _check(width: float, groups: int, norm: str) -> None:
    """Refuse what has no meaning."""
    if width <= 0:
        message = f"width must be above 0, not {width}"
        raise ValueError(message)
    if groups not in (1, GROUPS):
        message = f"groups must be 1 or {GROUPS}, not {groups!r}"
        raise ValueError(message)
    if norm not in NORMS:
        message = f"norm must be one of {', '.join(NORMS)}, not {norm!r}"
        raise ValueError(message)


def _scaled(units: int, width: float) -> int:
    """An even number, so that both groups are alike."""
    return GROUPS * max(1, round(width * units / GROUPS))


def _initialise(network: nn.Module) -> None:
    """He's law, with the gain of ReLU where one follows."""
    for name, module in network.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if name == "fc8" else "relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
