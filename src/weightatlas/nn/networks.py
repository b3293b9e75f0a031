"""The papers' networks: the simplified network of Weight Banding, at every width and input size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Final

import torch
from torch import nn

from weightatlas.nn.heads import HEADS, HeadName, build_head
from weightatlas.nn.pooling import L2Pool2d

SMALLEST_MAP: Final = 6
LARGEST_MAP: Final = 8
"""Side of the map under the head, whatever the input: room for a top, a middle and a bottom, each seen by every tap."""


@dataclass(frozen=True, slots=True)
class Group:
    """Convolutions at one resolution; a pool stands between two groups.

    Attributes:
        name: the article's number; its convolutions are conv3a, conv3b, ...
        kernel: side of the kernels, odd.
        channels: units of each convolution, at width 1.
        convolutions: how many there are.
    """

    name: str
    kernel: int
    channels: int
    convolutions: int = 1


ARTICLE: Final = (
    Group("0", kernel=7, channels=32),
    Group("1", kernel=5, channels=64),
    Group("2", kernel=5, channels=64),
    Group("3", kernel=5, channels=128, convolutions=2),
    Group("4", kernel=5, channels=256, convolutions=5),
    Group("5", kernel=5, channels=512, convolutions=2),
)
"""The network as the article draws it, for images of 224 x 224 and 1001 classes."""

SMALL: Final = (
    Group("3", kernel=5, channels=16),
    Group("4", kernel=3, channels=32),
    Group("5", kernel=3, channels=64, convolutions=2),
)
"""Its last three groups, scaled down to images of 24 x 24: what trains in seconds on a CPU."""


class SimplifiedNetwork(nn.Module):
    """Build the simplified network of Weight Banding: groups of convolutions, L2 pools between them, and a head.

    Each convolution (zero padding, stride 1, no bias) is followed by batch normalisation and ReLU. Pools lie between
    groups and halve the map, counted back from the last group: a smaller input drops the first pools, and where powers
    of two do not fit, the first pool that is kept takes a larger step. So the map under the head is 6 x 6 to 8 x 8 at
    every input size from 12 up (and at 6, 7 and 8, without a pool): no tap of the last kernels lies in the padding at
    every position, and each gets gradient.

    Modules, in order: conv0a, norm0a, relu0a, pool0, conv1a, ..., conv5b, norm5b, relu5b, head, classifier. `SMALL`
    keeps the names of the article's last groups, so that 5b is always the layer under the head.

    Args:
        groups: the table of convolutions, `ARTICLE` or `SMALL` or one's own.
        width: multiplies the channels of every group, rounded, one at least.
        input_size: side of the images.
        classes: outputs of the classifier.
        in_channels: channels of the images.
        head: what stands between the last map and the classifier, one of `HEADS`, as `build_head` knows them.
        seed: fixes the initial weights (PyTorch's own initialisation); the global generator is left as it was.

    Attributes:
        pools: module name and step of each pool that is kept.
        dropped_pools: names of those that the table has room for and this input size drops.
        input_size: side of the images it is built for.
        map_size: side of the map under the head.

    Shape:
        (batch, in_channels, input_size, input_size), float, to (batch, classes), logits.

    Raises:
        ValueError: the input is too small for a map of 6 x 6 (or is 9, 10 or 11), the head is unknown, the table is
            empty, a kernel is even, or a group has no convolution or more than 26.

    **Source:** Weight Banding (Petrov, Voss, Schubert, Cammarata, Goh, Olah; Distill 2021), the figure of the network's
    architecture, and its variants of the head. The figure gives no strides: the convolutions have 1 and the pools 2,
    which its five pools and its final 7 x 7 force. Where the article's first kernels are 7 x 7 and 5 x 5, `SMALL` has
    5 x 5 and 3 x 3.

    Example:
        >>> network = SimplifiedNetwork(SMALL, input_size=24, classes=4)
        >>> network.pools, network.map_size
        ((('pool3', 2), ('pool4', 2)), 6)
        >>> network(torch.zeros(2, 3, 24, 24)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        groups: Sequence[Group] = ARTICLE,
        *,
        width: float = 1.0,
        input_size: int = 224,
        classes: int = 1001,
        in_channels: int = 3,
        head: HeadName = "gap",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            message = f"head must be one of {', '.join(HEADS)}, not {head!r}"
            raise ValueError(message)
        if not groups or any(
            group.kernel % 2 == 0 or not 1 <= group.convolutions <= len(ascii_lowercase) for group in groups
        ):
            message = "groups must hold one group or more, each of 1 to 26 convolutions, and their kernels must be odd"
            raise ValueError(message)
        steps = pool_steps(input_size, len(groups) - 1)
        side = input_size
        channels = in_channels
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            for position, group in enumerate(groups):
                units = max(1, round(width * group.channels))
                for letter in ascii_lowercase[: group.convolutions]:
                    name = group.name + letter
                    convolution = nn.Conv2d(channels, units, group.kernel, padding=group.kernel // 2, bias=False)
                    self.add_module(f"conv{name}", convolution)
                    self.add_module(f"norm{name}", nn.BatchNorm2d(units))
                    self.add_module(f"relu{name}", nn.ReLU())
                    channels = units
                if position < len(steps) and steps[position] > 1:
                    self.add_module(f"pool{group.name}", L2Pool2d(steps[position]))
                    side //= steps[position]
            pooling = build_head(head, channels, side, side)
            self.add_module("head", pooling)
            self.add_module("classifier", nn.Linear(pooling.out_features, classes))
        self.pools = tuple(
            (name, module.size) for name, module in self.named_children() if isinstance(module, L2Pool2d)
        )
        places = zip(groups, steps, strict=False)
        self.dropped_pools = tuple(f"pool{group.name}" for group, step in places if step == 1)
        self.input_size = input_size
        self.map_size = side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = images
        for module in self.children():
            features = module(features)
        return features


def pool_steps(input_size: int, places: int) -> tuple[int, ...]:
    """Step of the pool at each place between groups, 1 where there is none, so that the last map is 6 x 6 to 8 x 8.

    With p pools kept, the last p places, each halves the map but the first of them, whose step is the smallest that
    brings it to 8 x 8 or below. p is the largest that `places` and floor(log2(input_size / 6)) allow.

    Args:
        input_size: side of the images.
        places: how many places there are for a pool.

    Raises:
        ValueError: no choice of steps gives a map of 6 x 6 to 8 x 8.

    Example:
        >>> pool_steps(224, 5), pool_steps(32, 5), pool_steps(40, 5)
        ((2, 2, 2, 2, 2), (1, 1, 1, 2, 2), (1, 1, 1, 3, 2))
    """
    kept = max((count for count in range(places + 1) if SMALLEST_MAP * 2**count <= input_size), default=0)
    if kept == 0:
        if SMALLEST_MAP <= input_size <= LARGEST_MAP:
            return (1,) * places
        message = (
            f"images of {input_size} x {input_size} cannot give a last map of {SMALLEST_MAP} x {SMALLEST_MAP} to "
            f"{LARGEST_MAP} x {LARGEST_MAP} with {places} places for a pool; take 6, 7, 8, or 12 and more with a pool"
        )
        raise ValueError(message)
    before_last = input_size // 2 ** (kept - 1)
    first = next(step for step in range(2, before_last + 1) if before_last // step <= LARGEST_MAP)
    return (1,) * (places - kept) + (first,) + (2,) * (kept - 1)
