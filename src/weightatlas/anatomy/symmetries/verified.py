"""Layouts whose groups were tried: those that change what the network computes are pinned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightatlas.anatomy.symmetries.layout import Factor, Layout
from weightatlas.anatomy.symmetries.report import Symmetries, described, sizes_of
from weightatlas.anatomy.symmetries.verification import Trial, offenders, shuffled

if TYPE_CHECKING:
    from weightatlas.anatomy.graph.exporting import Example


def verified(
    model: torch.nn.Module, example: Example, layouts: Mapping[str, tuple[Layout, ...]], *, seed: int
) -> Symmetries:
    """Try random permutations of all groups, and pin those that change the outputs.

    Raises:
        SourceError: the model cannot be tried.
    """
    trial = Trial.of(model, example, seed=seed)
    generator = np.random.default_rng(seed)
    orders = {name: shuffled(size, generator) for name, size in sizes_of(layouts).items()}
    wrong = offenders(list(orders), lambda several: trial.change(layouts, {name: orders[name] for name in several}))
    reasons = {
        name: f"permuting it changes the outputs by {change:.1g} of their size" for name, change in wrong.items()
    }
    left = {name: tuple(_without(axis, reasons) for axis in axes) for name, axes in layouts.items()}
    return described(
        model, left, change=trial.change(left, {name: orders[name] for name in orders if name not in wrong})
    )


def _without(layout: Layout, reasons: Mapping[str, str]) -> Layout:
    """A layout with some of its groups pinned."""
    if not isinstance(layout, Factor):
        return type(layout)(tuple(_without(part, reasons) for part in layout.parts))
    reason = reasons.get(layout.group or "")
    return layout if reason is None else Factor(layout.size, None, reason)
