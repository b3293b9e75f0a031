"""The rows of one record: figures of whole tensors, or the sums of what one of several processes holds of each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.change.changes import FIGURES
from weightatlas.change.summing.sums import ChangeStatistics, Zero, figures
from weightatlas.result import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.change.recording.kept import Amounts
    from weightatlas.change.recording.watched import Watched
    from weightatlas.result import Row

FROM_NOTHING: Final = "all its weights were 0 at the record before: no ratio"
"""What is said of a layer that leaves zero, as those of low-rank adapters do: JSON has no infinity."""

SPOILT: Final = ("ratio_l2", "cosine", "angle_from_start", "median")
"""Figures that are wrong where weights were rounded to be kept; sums of magnitudes stay right on average."""


def figures_rows(
    watched: Sequence[Watched],
    amounts: Amounts,
    *,
    step: int,
    since: int,
    kept: torch.dtype,
    with_start: bool,
    zero: Zero,
) -> list[Row]:
    """Give a row for each tensor, with the columns of the table of steps.

    Args:
        watched: the tensors that `amounts` are of.
        amounts: what the record came to.
        step: of the record.
        since: of the one before.
        kept: the type that weights are kept in.
        with_start: whether the sums know the first weights.
        zero: as `statistics` has it.
    """
    rows = []
    for index, each in enumerate(watched):
        found = _figures(amounts, index, with_start=with_start, zero=zero)
        spoilt = SPOILT if is_coarser(kept, each.dtype) else ()
        head: Row = {"layer": each.layer, "role": each.role, "step": step}
        values: Row = {name: None if name in spoilt else plain(getattr(found, name)) for name in FIGURES}
        reason = FROM_NOTHING if math.isinf(found.ratio_l1) else found.skipped
        tail: Row = {"since": since, "tensor": each.tensor, "parameters": each.parameters, "skipped": reason}
        rows.append(head | values | tail)
    return rows


def sums_rows(watched: Sequence[Watched], amounts: Amounts, *, step: int, since: int, kept: torch.dtype) -> list[Row]:
    """Give a row for each tensor with the sums over the elements that this process holds; they add up."""
    return [
        {
            "layer": each.layer,
            "step": step,
            "sums": amounts.sums[index].tolist(),
            "elements": amounts.elements[index],
            "knows_previous": amounts.knows_previous,
            "is_rounded": is_coarser(kept, each.dtype),
            "since": since,
            "tensor": each.tensor,
            "skipped": amounts.problems.get(index),
        }
        for index, each in enumerate(watched)
    ]


def is_coarser(kept: torch.dtype, weights: torch.dtype) -> bool:
    """Whether weights lose digits when they are kept in a type.

    Example:
        >>> is_coarser(torch.bfloat16, torch.float32), is_coarser(torch.float32, torch.bfloat16)
        (True, False)
    """
    return torch.finfo(kept).eps > torch.finfo(weights).eps


def _figures(amounts: Amounts, index: int, *, with_start: bool, zero: Zero) -> ChangeStatistics:
    elements = amounts.elements[index]
    if index in amounts.problems:
        return ChangeStatistics(elements=elements, skipped=amounts.problems[index])
    found = figures(
        amounts.sums[index], elements, zero=zero, with_previous=amounts.knows_previous, with_start=with_start
    )
    if amounts.medians is None or found.skipped is not None:
        return found
    return replace(found, median=amounts.medians[index])
