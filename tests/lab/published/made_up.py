"""Batches of a user's own, as `package.module:callable` names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.lab.published import Classification, Segmentation
from weightatlas.lab.published.tasks import IGNORED

if TYPE_CHECKING:
    import torch


def clips(batches: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    task = Classification(classes=174, size=32, frames=8)
    return [task.example(1, seed) for seed in range(batches)]


def maps(batches: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    task = Segmentation(classes=21, size=33)
    found = [task.example(1, seed) for seed in range(batches)]
    return [(images, classes.masked_fill(classes == IGNORED, 0)) for images, classes in found]
