"""Small networks, with and without what a survey of conditioning looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn

from weightatlas.evaluation import Data, open_data

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {"examples": 16, "smooth_examples": 8, "draws": 2, "eigenvalues": 0}
CLASSES = 4


class Small(nn.Module):
    """Three convolutions behind three nonlinearities: a batch norm, a group norm and none."""

    def __init__(self, *, classes: int = CLASSES, dead: int = 0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv1, self.norm1 = nn.Conv2d(3, 6, 3, stride=4), nn.BatchNorm2d(6)
            self.conv2, self.norm2 = nn.Conv2d(6, 6, 3), nn.GroupNorm(2, 6)
            self.conv3, self.head = nn.Conv2d(6, 6, 1), nn.Linear(6, classes)
            self.conv3.bias = nn.Parameter(torch.full((6,), 0.5))  # so that none is dead by chance
        nn.init.constant_(self.norm1.bias[:dead], -10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = torch.relu(self.norm1(self.conv1(images)))
        second = torch.relu(self.norm2(self.conv2(first)))
        logits: torch.Tensor = self.head(torch.relu(self.conv3(second)).mean((2, 3)))
        return logits


def deep(layers: int) -> nn.Sequential:
    """So many convolutions, each with its batch norm and its nonlinearity."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        stages = [
            (nn.Conv2d(3 if not place else 2, 2, 1, stride=1 if place else 6), nn.BatchNorm2d(2), nn.ReLU())
            for place in range(layers)
        ]
        end = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, CLASSES))
        for convolution, norm, _ in stages:
            nn.init.dirac_(convolution.weight).add_(
                0.1 * torch.randn(convolution.weight.shape)
            )  # lets gradients through
            nn.init.constant_(norm.bias, 0.1)
        return nn.Sequential(*(layer for stage in stages for layer in stage), *end)


def headed(*layers: nn.Module) -> nn.Sequential:
    """Layers on four channels with a classifier behind."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))


def scenes() -> Data:
    """The scenes that need no file."""
    return open_data("scenes")


def save_run(folder: Path, networks: dict[int, nn.Module]) -> None:
    """Write a checkpoint a step."""
    for step, network in networks.items():
        save_file(network.state_dict(), folder / f"step{step}.safetensors")
