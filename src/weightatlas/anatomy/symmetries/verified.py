"""Layouts whose groups were tried: those that change what the network computes are pinned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.anatomy.symmetries.layout import Factor, Layout
from weightatlas.anatomy.symmetries.report import Symmetries, described, entries_of, sizes_of
from weightatlas.anatomy.symmetries.separating import Owners, Separation
from weightatlas.anatomy.symmetries.trial import Trial, trials
from weightatlas.anatomy.symmetries.verification import offenders, shuffled

if TYPE_CHECKING:
    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.anatomy.symmetries.permuting import Layouts

DRAWS: Final = 3
"""Sets of numbers, and of permutations, that all groups are tried with: the network's own numbers and two others."""


def verified(
    model: torch.nn.Module,
    example: Example,
    layouts: Layouts,
    separable: Owners | None = None,
    *,
    seed: int,
    draws: int = DRAWS,
) -> Symmetries:
    """Try random permutations of all groups, and pin those that change the outputs.

    Then hold the groups beside which others could have copies, and try these; where that changes the outputs they have
    none.

    Args:
        model: whose layouts these are.
        example: what to call it with.
        layouts: of its tensors.
        separable: groups by those of whose entries each could have copies.
        seed: of all that is drawn.
        draws: how often everything is tried, each time with other numbers.

    Raises:
        SourceError: the model cannot be tried.
        ValueError: `draws` is less than 1.
    """
    if draws < 1:
        message = f"draws must be 1 or more, not {draws}"
        raise ValueError(message)
    generator = np.random.default_rng(seed)
    largest, owners = 0.0, dict(separable or {})
    for trial in trials(model, example, draws=draws, seed=seed):
        wrong, change = _tried(trial, layouts, generator)
        layouts = {name: tuple(_without(axis, wrong) for axis in axes) for name, axes in layouts.items()}
        owners = {name: several for name, several in owners.items() if not wrong.keys() & {name, *several}}
        owners, apart = _separable(trial, layouts, owners, generator)
        largest = max(largest, change, apart)
    return described(entries_of(model), layouts, change=largest, separable=owners)


def _separable(
    trial: Trial, layouts: Layouts, owners: Owners, generator: np.random.Generator
) -> tuple[dict[str, tuple[str, ...]], float]:
    """The owners without those of groups whose copies change the outputs; and by how much the others change them."""
    if not owners:
        return {}, 0.0
    separation = Separation(owners, {owner for several in owners.values() for owner in several})
    held = {name: separation.tensor(axes) for name, axes in layouts.items()}
    wrong, change = _tried(trial, held, generator)
    gone = {separation.origins.get(name, name) for name in wrong}
    return {name: several for name, several in owners.items() if name not in gone}, change


def _tried(trial: Trial, layouts: Layouts, generator: np.random.Generator) -> tuple[dict[str, str], float]:
    """Why groups are wrong; and by how much all others together change the outputs."""
    orders = {name: shuffled(size, generator) for name, size in sizes_of(layouts).items()}
    seen: list[float] = []

    def change(several: Sequence[str]) -> float:
        seen.append(trial.change(layouts, {name: orders[name] for name in several}))
        return seen[-1]

    reasons: dict[str, str] = {}
    while orders:
        seen.clear()
        wrong = offenders(list(orders), change)
        if not wrong:
            return reasons, seen[0]
        for name, by in wrong.items():
            reasons[name] = f"permuting it changes the outputs by {by:.1g} of their size"
            del orders[name]
    return reasons, 0.0


def _without(layout: Layout, reasons: Mapping[str, str]) -> Layout:
    """A layout with some of its groups pinned."""
    if not isinstance(layout, Factor):
        return type(layout)(tuple(_without(part, reasons) for part in layout.parts))
    reason = reasons.get(layout.group or "")
    return layout if reason is None else Factor(layout.size, None, reason)
