"""A small network whose first two layers are two branches, each of its own width and kernel size."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from weightatlas.nn.heads import HeadName, build_head
from weightatlas.nn.networks import pool_steps

UNITS: Final = 32
"""Units of conv1 in both branches together at width 1; conv2 has twice as many, as have conv3 and conv4."""


class ParallelBranches(nn.Module):
    """Build a small network whose first two layers are two branches of any share of the units and any kernels.

    | layer | kernels at width 1 | after it |
    |---|---|---|
    | first.conv1 | share of 32, first_kernel x first_kernel | batch norm, ReLU, pool |
    | first.conv2 | share of 64, first_kernel x first_kernel | batch norm, ReLU, pool |
    | second.conv1, second.conv2 | the rest, second_kernel x second_kernel | the same |
    | conv3 | 64 of 3 x 3 | batch norm, ReLU |
    | conv4 | 64 of 3 x 3 | batch norm, ReLU |
    | head, classifier | | |

    Both branches see the whole image; conv3 reads the maps of both, concatenated, those of `first` before those of
    `second`. How wide a branch is and how large its kernels are can be chosen apart from each other, so that what a
    branch learns can be put down to the one or the other. At width 1 with equal branches it is a `BranchedNetwork` of
    width 1/2 in two branches, but for the kernels of conv1 and conv2.

    Convolutions pad with zeros and have no bias; pools take the maximum of windows that do not overlap, chosen as in
    `SimplifiedNetwork`.

    Args:
        share: units of the first branch, as a share of both layers', above 0 and below 1; rounded, one at least.
        first_kernel: side of the first branch's kernels, odd.
        second_kernel: side of the second branch's kernels, odd.
        width: multiplies the units of every layer, rounded, two at least.
        input_size: side of the images; 6, 7, 8, or 12 and more.
        classes: outputs of the classifier.
        in_channels: channels of the images.
        head: what stands between the last map and the classifier, one of `HEADS`.
        seed: fixes the initial weights (PyTorch's own initialisation); the global generator is left as it was.

    Attributes:
        input_size: side of the images it is built for.
        map_size: side of the map under the head.

    Shape:
        (batch, in_channels, input_size, input_size), float, to (batch, classes), logits.

    Raises:
        ValueError: a share lies outside of (0, 1), a kernel is even, `width` is not positive, the head is unknown, or
            the input is too small for a map of 6 x 6.

    **Source:** ours, to take apart what Branch Specialization (Voss et al., Distill 2021) cannot: in InceptionV1 the
    branch of 5 x 5 kernels, the largest, is also the narrowest (but for a tie), and it is the one whose specialisation
    the article counts.

    Example:
        >>> network = ParallelBranches(0.25, first_kernel=7, second_kernel=3, input_size=24, classes=4)
        >>> network.first.conv1.weight.shape, network.second.conv1.weight.shape
        (torch.Size([8, 3, 7, 7]), torch.Size([24, 3, 3, 3]))
        >>> network(torch.zeros(2, 3, 24, 24)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        share: float = 0.5,
        *,
        first_kernel: int = 5,
        second_kernel: int = 5,
        width: float = 1.0,
        input_size: int = 32,
        classes: int = 10,
        in_channels: int = 3,
        head: HeadName = "gap",
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(share, first_kernel, second_kernel, width)
        steps = pool_steps(input_size, 2)
        side = input_size
        for step in steps:
            side //= step
        first, second = _split(UNITS, share, width)
        deeper, beside = _split(2 * UNITS, share, width)
        joined = deeper + beside
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.first = _branch(in_channels, first, deeper, first_kernel, steps)
            self.second = _branch(in_channels, second, beside, second_kernel, steps)
            for number in (3, 4):
                self.add_module(f"conv{number}", nn.Conv2d(joined, joined, 3, padding=1, bias=False))
                self.add_module(f"norm{number}", nn.BatchNorm2d(joined))
                self.add_module(f"relu{number}", nn.ReLU())
            self.head = build_head(head, joined, side, side)
            self.classifier = nn.Linear(self.head.out_features, classes)
        self.input_size = input_size
        self.map_size = side

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = torch.cat([self.first(images), self.second(images)], dim=1)
        for name, module in self.named_children():
            if name not in ("first", "second"):
                features = module(features)
        return features


def _branch(channels: int, units: int, deeper: int, kernel: int, steps: tuple[int, ...]) -> nn.Sequential:
    """Two convolutions with what follows them."""
    branch = nn.Sequential()
    for number, (count, step) in enumerate(zip((units, deeper), steps, strict=True), start=1):
        branch.add_module(f"conv{number}", nn.Conv2d(channels, count, kernel, padding=kernel // 2, bias=False))
        branch.add_module(f"norm{number}", nn.BatchNorm2d(count))
        branch.add_module(f"relu{number}", nn.ReLU())
        if step > 1:
            branch.add_module(f"pool{number}", nn.MaxPool2d(step))
        channels = count
    return branch


def _split(units: int, share: float, width: float) -> tuple[int, int]:
    """Units of the two branches, one at least in each."""
    both = max(2, round(width * units))
    first = min(max(1, round(share * both)), both - 1)
    return first, both - first


def _check(share: float, first_kernel: int, second_kernel: int, width: float) -> None:
    """Refuse what has no meaning."""
    if not 0 < share < 1:
        message = f"share must be above 0 and below 1, not {share}"
        raise ValueError(message)
    for name, kernel in (("first_kernel", first_kernel), ("second_kernel", second_kernel)):
        if kernel < 1 or kernel % 2 == 0:
            message = f"{name} must be odd, not {kernel}"
            raise ValueError(message)
    if width <= 0:
        message = f"width must be above 0, not {width}"
        raise ValueError(message)
