"""Residual networks for small images: ResNets of 20 to 152 layers behind a stem that keeps 32 x 32."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

Shortcut = Literal["convolution", "zeros"]
Depth = Literal[8, 14, 18, 20, 34, 50, 56, 110, 152]
DEPTHS: Final[tuple[Depth, ...]] = get_args(Depth)

BLOCKS: Final[dict[int, tuple[int, ...]]] = {
    8: (1, 1, 1),
    14: (2, 2, 2),
    18: (2, 2, 2, 2),
    20: (3, 3, 3),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    56: (9, 9, 9),
    110: (18, 18, 18),
    152: (3, 8, 36, 3),
}
"""Blocks of the stages: four in the networks of ImageNet, three in those that were made for CIFAR."""

UNITS: Final = {4: (64, 128, 256, 512), 3: (16, 32, 64)}
"""Units of the stages at width 1, by how many stages there are."""

BOTTLENECKS: Final = (50, 152)
"""Depths whose blocks are bottlenecks."""

EXPANSION: Final = 4
"""How many times more units a bottleneck gives than its 3 x 3 convolution has."""


class ResidualNetwork(nn.Module):
    """Build a residual network whose stem keeps small images as they are.

    | module | kernels at width 1 | stride |
    |---|---|---|
    | conv1 | 64 of 3 x 3 (16) | 1, and no pool |
    | layer1 | 64 (16) | 1 |
    | layer2, layer3, layer4 | 128, 256, 512 (32, 64, no layer4) | 2 in the first block |
    | mean over positions, fc | one for each class | |

    Depths of 18 and 34 have basic blocks of two 3 x 3 convolutions: 2, 2, 2, 2 of them in the four stages, or 3, 4, 6,
    3. Depths of 50 and 152 have bottlenecks, 3, 4, 6, 3 and 3, 8, 36, 3, of 1 x 1, 3 x 3 and 1 x 1, the last with four
    times the units. Depths of 20, 56 and 110 are the article's own for CIFAR: three stages of 3, 9 or 18 basic blocks
    each, with the units in brackets; 8 and 14, of one and two blocks a stage, follow the same rule, 6 n + 2. Where a
    block changes the units or the resolution its shortcut is a 1 x 1 convolution (`downsample.0`). Convolutions have no
    bias, and each is followed by batch normalisation. Modules have torchvision's names.

    Args:
        depth: 8, 14, 18, 20, 34, 50, 56, 110 or 152.
        width: multiplies the units of all stages, rounded, one at least.
        classes: outputs of fc.
        in_channels: channels of the images.
        shortcut: "convolution", or "zeros": a block that changes units or resolution takes every second position and
            pads the units with zeros on both sides, as public CIFAR networks do; for basic blocks.
        seed: fixes the initial weights (PyTorch's own initialisation); the global generator is left as it was.

    Attributes:
        depth: as given.

    Shape:
        (batch, in_channels, height, width), float, to (batch, classes), logits. Height and width are any; 32 gives last
        maps of 4 x 4, or of 8 x 8 after three stages.

    Raises:
        ValueError: there is no such depth or shortcut, `width` is not positive, or bottlenecks are to be padded.

    **Source:** He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition (CVPR 2016), the architectures
    of table 1 and of section 4.2; the stem and the strides are those of public CIFAR code, where the stride of a
    bottleneck is on its 3 x 3 convolution. Section 4.2 pads its shortcuts with zeros; ours are convolutions at all
    depths, unless "zeros" asks for that. WeightScale (Agrawal and others, 2022) calls "ResNet50" what its code
    builds with basic blocks 3, 4, 6, 3: a depth of 34, with 37 weight tensors and 21.3 million parameters. Here 34
    is 34 and 50 is 50.

    Example:
        >>> network = ResidualNetwork(34)
        >>> sum(parameter.numel() for parameter in network.parameters())
        21282122
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int = 34,
        *,
        width: float = 1.0,
        classes: int = 10,
        in_channels: int = 3,
        shortcut: Shortcut = "convolution",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            message = f"depth must be one of {', '.join(map(str, DEPTHS))}, not {depth!r}"
            raise ValueError(message)
        if width <= 0:
            message = f"width must be above 0, not {width}"
            raise ValueError(message)
        if shortcut not in get_args(Shortcut) or (shortcut == "zeros" and depth in BOTTLENECKS):
            message = (
                f"shortcut must be one of {', '.join(get_args(Shortcut))}, zeros for basic blocks, not {shortcut!r}"
            )
            raise ValueError(message)
        stages = BLOCKS[depth]
        units = [max(1, round(width * count)) for count in UNITS[len(stages)]]
        block: type[BasicBlock | Bottleneck] = Bottleneck if depth in BOTTLENECKS else BasicBlock
        channels = units[0]
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            for stage, blocks in enumerate(stages):
                layer = nn.Sequential()
                for number in range(blocks):
                    stride = 2 if stage > 0 and number == 0 else 1
                    layer.append(block(channels, units[stage], stride, shortcut))
                    channels = units[stage] * block.expansion
                self.add_module(f"layer{stage + 1}", layer)
            self.fc = nn.Linear(channels, classes)
        self.depth = depth

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = functional.relu(self.bn1(self.conv1(images)))
        for stage in range(1, len(BLOCKS[self.depth]) + 1):
            features = self.get_submodule(f"layer{stage}")(features)
        answer: torch.Tensor = self.fc(features.mean(dim=(2, 3)))
        return answer


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
        channels: that come in.
        units: of both convolutions.
        stride: of the first, and of the shortcut.
        shortcut: "convolution", or "zeros", which has no parameters.

    Shape:
        (batch, channels, H, W) to (batch, units, H / stride, W / stride), rounded up.

    Example:
        >>> BasicBlock(4, 8, 2)(torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 3, 3])
    """

    expansion: Final = 1

    def __init__(self, channels: int, units: int, stride: int, shortcut: Shortcut = "convolution") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, units, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.downsample = _shortcut(channels, units, stride, shortcut)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions give to what came in."""
        change = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(change)) + self.downsample(features))


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1 beside a shortcut; the last has four times the units.

    Args:
        channels: that come in.
        units: of the first two convolutions.
        stride: of the 3 x 3 convolution, and of the shortcut.
        shortcut: "convolution".

    Shape:
        (batch, channels, H, W) to (batch, 4 units, H / stride, W / stride), rounded up.

    Example:
        >>> Bottleneck(16, 4, 2)(torch.zeros(1, 16, 6, 6)).shape
        torch.Size([1, 16, 3, 3])
    """

    expansion: Final = EXPANSION

    def __init__(self, channels: int, units: int, stride: int, shortcut: Shortcut = "convolution") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, units, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.conv3 = nn.Conv2d(units, EXPANSION * units, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * units)
        self.downsample = _shortcut(channels, EXPANSION * units, stride, shortcut)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions give to what came in."""
        change = functional.relu(self.bn1(self.conv1(features)))
        change = functional.relu(self.bn2(self.conv2(change)))
        return functional.relu(self.bn3(self.conv3(change)) + self.downsample(features))


class PaddedShortcut(nn.Module):
    """Every `stride`-th position of each channel, between channels of zeros: a shortcut without parameters.

    Args:
        channels: that come in.
        units: that come out; as many zeros stand before the channels as behind them, one more behind if that is odd.
        stride: between the positions that are taken.

    Shape:
        (batch, channels, H, W) to (batch, units, H / stride, W / stride), rounded up.

    **Source:** He and others (2016), option A; where the zeros stand is that of public CIFAR code.

    Example:
        >>> PaddedShortcut(1, 3, 2)(torch.ones(1, 1, 2, 2)).flatten()
        tensor([0., 1., 0.])
    """

    def __init__(self, channels: int, units: int, stride: int) -> None:
        super().__init__()
        before = (units - channels) // 2
        self.padding = (0, 0, 0, 0, before, units - channels - before)
        self.stride = stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Take and pad."""
        return functional.pad(features[:, :, :: self.stride, :: self.stride], self.padding)


def _shortcut(channels: int, units: int, stride: int, shortcut: Shortcut) -> nn.Module:
    """What came in as it is, or with the units and resolution of what the block gives."""
    if stride == 1 and channels == units:
        return nn.Identity()
    if shortcut == "zeros":
        return PaddedShortcut(channels, units, stride)
    return nn.Sequential(nn.Conv2d(channels, units, 1, stride, bias=False), nn.BatchNorm2d(units))
