"""Networks whose joining is known: one, and the same with its units in another order."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightatlas.anatomy.symmetry import symmetries
from weightatlas.evaluation import Data, open_data

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {"points": 5, "examples": 64, "layer_examples": 32, "restarts": 1}


class Small(nn.Module):
    """Two convolutions with norms whose statistics and scales differ from channel to channel, and a sure head."""

    def __init__(self, seed: int = 0, classes: int = 5) -> None:
        """Draw everything from a seed."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1, self.norm1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
            self.conv2, self.norm2 = nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12)
            self.head = nn.Linear(12, classes)
            with torch.no_grad():
                self.head.weight *= 12
                for norm in (self.norm1, self.norm2):
                    norm.weight.uniform_(0.5, 1.5)
                    norm.bias.uniform_(-0.3, 0.3)
            for _ in range(30):  # the statistics of what it is run on
                self(torch.randn(64, 3, 8, 8))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        first = self.norm1(self.conv1(images)).relu()
        second = self.norm2(self.conv2(first)).relu()
        logits: torch.Tensor = self.head(second.mean((2, 3)))
        return logits


class Unexportable(Small):
    """What it computes hangs on a number that the graph does not know."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return super().forward(images) if float(images.sum()) != 1.0 else super().forward(-images)


def reordered(network: nn.Module, seed: int = 1) -> nn.Module:
    """A copy that computes the same, its units in another order."""
    found = symmetries(network, torch.zeros(2, 3, 8, 8))
    other = copy.deepcopy(network)
    other.load_state_dict(found.permute(network.state_dict(), found.random(seed)))
    return other


def labelled(network: nn.Module, count: int = 128) -> Data:
    """Inputs with the classes that a network sees in them, so that it makes no mistakes."""
    images = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        targets = network(images).argmax(1)
    return open_data([(images[start : start + 32], targets[start : start + 32]) for start in range(0, count, 32)])


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Data for the command line: what `Small()` sees."""
    return list(labelled(Small()))


def save(network: nn.Module, path: Path) -> str:
    """Write a network's weights."""
    torch.save(network.state_dict(), path)
    return str(path)
