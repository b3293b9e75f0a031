"""Small networks that change by a known amount at every step, for tests of what records them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = ("0", "2", "4")
MOVES = {"0": 0.01, "2": 0.02, "4": 0.04}
"""By which share of its size each layer grows at a step: its relative weight change."""


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Three layers, with biases."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def update(model: nn.Module, *, frozen: tuple[str, ...] = ()) -> None:
    """Let each layer grow by its share."""
    with torch.no_grad():
        for name in LAYERS:
            if name not in frozen:
                model.get_submodule(name).weight.mul_(1 + MOVES[name])  # type: ignore[operator]


def updates(model: nn.Module, last: int, first: int = 1) -> Iterator[int]:
    """Make updates, and give the number of each after it is made."""
    for step in range(first, last + 1):
        update(model)
        yield step
