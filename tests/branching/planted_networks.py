"""Small networks with branches whose units are known: grey gratings in one, colour blobs in the other."""

from __future__ import annotations

import math

import torch
from torch import nn

UNITS = 12
"""Of the first layer; half of them in either branch."""


class Branched(nn.Module):
    """A first layer that two groups of the second read apart, a third layer that reads both, and a classifier."""

    def __init__(self, *, planted: bool = True, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.conv1 = nn.Conv2d(3, UNITS, 7, padding=3, bias=False)
            self.conv2 = nn.Conv2d(UNITS, 8, 3, padding=1, groups=2)
            self.conv3 = nn.Conv2d(8, 10, 3, padding=1)
            self.fc = nn.Linear(10, 4)
        self.input_size = 16
        if planted:
            with torch.no_grad():
                self.conv1.weight.copy_(torch.cat([gratings(UNITS // 2), blobs(UNITS // 2)]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = torch.relu(self.conv1(images))
        features = torch.relu(self.conv3(torch.relu(self.conv2(features))))
        answer: torch.Tensor = self.fc(features.mean(dim=(2, 3)))
        return answer


class Inception(nn.Module):
    """Two paths with kernels of two sizes that are joined by a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(0)
            self.small = nn.Conv2d(3, 6, 3, padding=1, bias=False)
            self.large = nn.Conv2d(3, 10, 5, padding=2, bias=False)
            self.head = nn.Conv2d(16, 4, 1)
        self.input_size = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        joined = torch.cat([self.small(images), self.large(images)], dim=1)
        answer: torch.Tensor = self.head(torch.relu(joined)).mean(dim=(2, 3))
        return answer


def gratings(count: int, *, side: int = 7, frequency: float = 0.2) -> torch.Tensor:
    """Black-and-white gratings under a Gaussian, (count, 3, side, side), at evenly spaced orientations."""
    y, x = torch.meshgrid(*2 * (torch.arange(side) - side // 2,), indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * (side / 5) ** 2))
    kernels = []
    for number in range(count):
        angle = math.pi * number / count
        wave = torch.cos(2 * math.pi * frequency * (x * math.cos(angle) + y * math.sin(angle)))
        kernels.append((window * wave).expand(3, side, side))
    return torch.stack(kernels)


def blobs(count: int, *, side: int = 7) -> torch.Tensor:
    """Spots of one colour against its complement, (count, 3, side, side)."""
    y, x = torch.meshgrid(*2 * (torch.arange(side) - side // 2,), indexing="ij")
    spot = torch.exp(-(x**2 + y**2) / (2 * (side / 4) ** 2))
    hues = [2 * math.pi * number / count for number in range(count)]
    colours = torch.tensor([[math.cos(hue + 2 * math.pi * channel / 3) for channel in range(3)] for hue in hues])
    return colours[:, :, None, None] * spot
