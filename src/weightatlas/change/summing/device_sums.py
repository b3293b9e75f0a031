"""The sums of weight change where the weights are: on a GPU, in few launches, none of which the host waits for.

Weights are taken in rows of `ROW` elements. Each row is divided by its largest magnitude, so that nothing overflows or
underflows, summed in float32, and added up in float64. The same operations run on every device that has float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

from weightatlas.change.summing.ratios import BINS, STEPS
from weightatlas.change.summing.sums import (
    AFTER_2,
    AFTER_NOT_FINITE,
    BEFORE_NOT_FINITE,
    DISTANCE,
    DISTANCE_2,
    DOT,
    FROM_START,
    FROM_START_2,
    FROM_ZERO,
    PREVIOUS_2,
    RATIOS,
    SIZE,
    SIZE_2,
    START,
    START_2,
    SUMS,
    ZEROS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW: Final = 256
"""Elements that are summed in float32."""

CHUNK: Final = 1 << 24
"""Elements gone through at a time: what is made on the way is a few times 64 MiB, whatever the size of a tensor."""


def sums_on_device(
    before: torch.Tensor,
    after: torch.Tensor,
    *,
    start: torch.Tensor | None = None,
    previous: torch.Tensor | None = None,
) -> torch.Tensor:
    """Give the sums of a pair of tensors, on their device; nothing waits for the device.

    Args:
        before: weights of any shape and real type.
        after: the same later, its elements in the same order.
        start: the first weights; else their sums are 0.
        previous: the weights before `before`; else their sums are 0.

    Returns:
        (`SUMS`,) float64, in the order of `sums`: within 1e-6 of what the loops on the CPU add.

    Example:
        >>> sums = sums_on_device(torch.tensor([1.0, -2.0]), torch.tensor([1.5, -2.0]))
        >>> sums[DISTANCE].item(), sums[SIZE].item()
        (0.5, 3.0)
    """
    total = torch.zeros(SUMS, dtype=torch.float64, device=before.device)
    for low, high in _spans(before.numel()):
        old, new = _rows(before, low, high), _rows(after, low, high)
        first = None if start is None else _rows(start, low, high)
        older = None if previous is None else _rows(previous, low, high)
        total += row_sums(old, new, first, older).sum(0)
        total[ZEROS] -= old.numel() - (high - low)  # what fills the last row is zeros that are no weights
    return total


def ratios_on_device(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Count |d| / |w| of a pair as `ratios.count_ratios` does, on its device.

    Returns:
        (`BINS`,) int64 counts.

    Example:
        >>> int(ratios_on_device(torch.full((9,), 2.0), torch.full((9,), 2.5)).sum())
        9
    """
    bins = torch.zeros(BINS, dtype=torch.int64, device=before.device)
    for low, high in _spans(before.numel()):
        old = _wide(before.reshape(-1)[low:high])
        moved = (_wide(after.reshape(-1)[low:high]) - old).abs_()
        counted = (old != 0) & torch.isfinite(moved)
        bits = (moved / old.abs()).to(torch.float32).view(torch.int32).bitwise_right_shift_(16)
        places = (bits - (STEPS - 1)).clamp_(0, BINS - 1).long()
        bins.index_add_(0, places, counted.long())
    return bins


def row_sums(
    before: torch.Tensor, after: torch.Tensor, start: torch.Tensor | None, previous: torch.Tensor | None
) -> torch.Tensor:
    """Give the sums of each row of (rows, `ROW`) weights: (rows, `SUMS`) float64."""
    old, new = _wide(before), _wide(after)
    scaled, scale = _scaled(old)
    distance, far = _scaled(new - old)
    columns = {
        SIZE: _l1(scaled, scale),
        SIZE_2: _l2_squared(scaled, scale),
        DISTANCE: _l1(distance, far),
        DISTANCE_2: _l2_squared(distance, far),
        AFTER_2: _l2_squared(*_scaled(new)),
        BEFORE_NOT_FINITE: _not_finite(old),
        AFTER_NOT_FINITE: _not_finite(new),
    }
    if previous is not None:
        update, size = _scaled(old - _wide(previous))
        columns[PREVIOUS_2] = _l2_squared(update, size)
        columns[DOT] = (update * distance).sum(1).double() * size * far
    if start is not None:
        columns |= _start_sums(_wide(start), new)
    is_zero = scaled == 0
    columns[ZEROS] = is_zero.sum(1).double()
    columns[RATIOS] = _l1((distance / scaled).masked_fill_(is_zero, 0), far / scale)
    columns[FROM_ZERO] = _l1(distance.masked_fill_(is_zero.logical_not_(), 0), far)
    empty = torch.zeros_like(columns[SIZE])
    return torch.stack([columns.get(column, empty) for column in range(SUMS)], 1)


def _start_sums(start: torch.Tensor, after: torch.Tensor) -> dict[int, torch.Tensor]:
    first, size = _scaled(start)
    moved, far = _scaled(after - start)
    return {
        FROM_START: _l1(moved, far),
        START: _l1(first, size),
        FROM_START_2: _l2_squared(moved, far),
        START_2: _l2_squared(first, size),
    }


def _wide(weight: torch.Tensor) -> torch.Tensor:
    """Weights as float32, or as the float64 they are."""
    return weight if weight.dtype == torch.float64 else weight.to(torch.float32)


def _scaled(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows divided by their largest magnitudes, and these as float64; a row of zeros by 1."""
    largest = torch.linalg.vector_norm(rows, float("inf"), dim=1, keepdim=True)
    largest = torch.where(largest == 0, torch.ones_like(largest), largest)
    return rows / largest, largest[:, 0].double()


def _l1(rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, 1, dim=1)
    return norms.double() * scale


def _l2_squared(rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows, 2, dim=1)
    return (norms.double() * scale).square_()


def _not_finite(rows: torch.Tensor) -> torch.Tensor:
    return torch.ne(rows - rows, 0).sum(1).double()  # NaN for what is not finite, else 0


def _spans(elements: int) -> Iterator[tuple[int, int]]:
    return ((low, min(low + CHUNK, elements)) for low in range(0, elements, CHUNK))


def _rows(weight: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """A part of a tensor as rows, the last filled with zeros."""
    part = weight.detach().reshape(-1)[low:high]
    return functional.pad(part, (0, -part.numel() % ROW)).view(-1, ROW)
