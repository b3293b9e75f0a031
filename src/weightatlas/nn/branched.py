"""A small network whose first two layers are split into branches."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import nn

from weightatlas.nn.heads import HeadName, build_head
from weightatlas.nn.networks import pool_steps

Branches = Literal[1, 2, 4]
BRANCHES: Final[tuple[Branches, ...]] = get_args(Branches)


class BranchedNetwork(nn.Module):
    """Build a small network whose first two layers are 1, 2 or 4 branches that cannot see each other.

    | layer | kernels at width 1 | after it |
    |---|---|---|
    | conv1 | 64 of 7 x 7 | batch norm, ReLU, pool |
    | conv2 | 128 of 5 x 5, in as many groups as branches | batch norm, ReLU, pool |
    | conv3 | 128 of 3 x 3 | batch norm, ReLU |
    | conv4 | 128 of 3 x 3 | batch norm, ReLU |
    | head, classifier | | |

    Every branch sees the whole image. Branch b of B is the b-th run of 64 / B consecutive units of conv1 and of 128 / B
    of conv2, whose kernels read the branch's own units only; conv3 reads all of them side by side. However many
    branches there are, layers have the same units, so what conv1 learns can be compared; conv2 has 1 / B of the
    weights. With the same seed conv1 starts from the same weights.

    Convolutions pad with zeros and have no bias; pools take the maximum of windows that do not overlap, chosen as in
    `SimplifiedNetwork` (images of 24 and 32 give last maps of 6 x 6 and 8 x 8).

    Args:
        branches: 1 (no branches), 2 or 4.
        width: multiplies the units of every layer, rounded to multiples of four, four at least.
        input_size: side of the images; 6, 7, 8, or 12 and more.
        classes: outputs of the classifier.
        in_channels: channels of the images.
        head: what stands between the last map and the classifier, one of `HEADS`.
        seed: fixes the initial weights (PyTorch's own initialisation); the global generator is left as it was.

    Attributes:
        branches: how many there are.
        input_size: side of the images it is built for.
        map_size: side of the map under the head.

    Shape:
        (batch, in_channels, input_size, input_size), float, to (batch, classes), logits.

    Raises:
        ValueError: `branches` is none of these, `width` is not positive, the head is unknown, or the input is too small
            for a map of 6 x 6.

    **Source:** Branch Specialization (Voss, Goh, Cammarata, Petrov, Schubert, Olah; Distill 2021): models whose first
    layers are split into two branches, as AlexNet's are, and the small model with four, of which its last figure shows
    15 first-layer filters a branch (and 30 units of the second layer). The article gives no further architecture: all
    sizes are ours. It says that one splits crisply which was trained with batch norm; so ours has it.

    Example:
        >>> network = BranchedNetwork(4, input_size=32, classes=10)
        >>> network.conv1.weight.shape, network.conv2.weight.shape
        (torch.Size([64, 3, 7, 7]), torch.Size([128, 16, 5, 5]))
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        branches: int = 2,
        *,
        width: float = 1.0,
        input_size: int = 32,
        classes: int = 10,
        in_channels: int = 3,
        head: HeadName = "gap",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if branches not in BRANCHES:
            message = f"branches must be one of {', '.join(map(str, BRANCHES))}, not {branches!r}"
            raise ValueError(message)
        if width <= 0:
            message = f"width must be above 0, not {width}"
            raise ValueError(message)
        steps = pool_steps(input_size, 2)
        side = input_size
        channels = in_channels
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            for number, units, kernel, groups in ((1, 64, 7, 1), (2, 128, 5, branches), (3, 128, 3, 1), (4, 128, 3, 1)):
                kept = max(BRANCHES) * max(1, round(width * units / max(BRANCHES)))
                convolution = nn.Conv2d(channels, kept, kernel, padding=kernel // 2, groups=groups, bias=False)
                self.add_module(f"conv{number}", convolution)
                self.add_module(f"norm{number}", nn.BatchNorm2d(kept))
                self.add_module(f"relu{number}", nn.ReLU())
                if number <= len(steps) and steps[number - 1] > 1:
                    self.add_module(f"pool{number}", nn.MaxPool2d(steps[number - 1]))
                    side //= steps[number - 1]
                channels = kept
            pooling = build_head(head, channels, side, side)
            self.add_module("head", pooling)
            self.add_module("classifier", nn.Linear(pooling.out_features, classes))
        self.branches = branches
        self.input_size = input_size
        self.map_size = side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = images
        for module in self.children():
            features = module(features)
        return features
