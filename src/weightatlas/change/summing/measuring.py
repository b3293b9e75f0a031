"""Sums over flat tensors on the CPU, part by part; nothing the size of a tensor is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.change.summing.loops import add_norms, add_pair, add_start, add_update
from weightatlas.change.summing.ratios import BINS, count_ratios
from weightatlas.change.summing.stored import as_stored, is_in_place
from weightatlas.change.summing.sums import OF_PAIR, OF_START, SUMS

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.change.summing.stored import Stored

CHUNK: Final = 1 << 18
"""Elements gone through at a time: what several loops read one after the other stays in the caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured.

    Attributes:
        only_norms: the sums of equation 1 and no others: the fastest.
        median: also count ratios, for their median.
    """

    only_norms: bool = False
    median: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a pair came to; that of the parts of a tensor adds up.

    Attributes:
        sums: (`SUMS`,) float64.
        bins: (`BINS`,) int64 counts of ratios; None where the median was not asked for.
    """

    sums: npt.NDArray[np.float64]
    bins: npt.NDArray[np.int64] | None = None

    def __add__(self, other: Measured) -> Measured:
        """Give what both parts came to together."""
        bins = None if self.bins is None or other.bins is None else self.bins + other.bins
        return Measured(self.sums + other.sums, bins)


def nothing_measured(asked: Asked) -> Measured:
    """Give what to add parts to.

    Example:
        >>> nothing_measured(Asked()).sums.sum()
        np.float64(0.0)
    """
    return Measured(np.zeros(SUMS), np.zeros(BINS, dtype=np.int64) if asked.median else None)


def measure(
    into: Measured,
    before: Stored,
    after: Stored,
    *,
    start: Stored | None = None,
    previous: Stored | None = None,
    asked: Asked,
) -> None:
    """Add what a pair of flat tensors comes to, chunk by chunk; all are as long, each of a type of its own.

    Where a single loop reads weights as they lie in memory, all of them are one chunk.
    """
    others = [] if asked.only_norms else [weight for weight in (previous, start) if weight is not None]
    is_one_loop = not asked.median and all(weight is before for weight in others)
    size = len(before) if is_one_loop and is_in_place(before) and is_in_place(after) else CHUNK
    for low in range(0, len(before), max(size, 1)):
        high = low + size
        old, new = as_stored(before[low:high]), as_stored(after[low:high])
        if asked.only_norms:
            add_norms(old, new, into.sums)
        else:
            add_pair(old, new, into.sums)
            if previous is not None:
                add_update(as_stored(previous[low:high]), old, new, into.sums)
            if start is not None and start is not before:
                add_start(as_stored(start[low:high]), new, into.sums)
        if into.bins is not None:
            count_ratios(old, new, into.bins)
    if start is before and not asked.only_norms:
        into.sums[OF_START] = into.sums[OF_PAIR]
