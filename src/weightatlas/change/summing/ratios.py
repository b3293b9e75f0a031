"""The median of how far weights moved, from a histogram of ratios with bins of equal relative width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numba import njit

from weightatlas.change.summing.stored import read

if TYPE_CHECKING:
    import numpy.typing as npt

STEPS: Final = 128
"""Bins for each power of two; a bin's middle is within .4 % of all in it."""

LOWEST, HIGHEST = -126, 128
BINS: Final = (HIGHEST - LOWEST) * STEPS + 2
"""Below all bins lie the ratios of 0 and those lost to underflow, above them those too large for float32."""

# ruff: noqa: ANN401 - arrays, typed by numba


@njit(error_model="numpy", nogil=True, cache=True)
def count_ratios(before: Any, after: Any, bins: Any) -> None:
    """Count |d| / |w| of all weights that were not 0 and are finite in `bins`, `BINS` numbers.

    The bins come from the bits of a float32: its exponent, and the highest seven of its fraction.
    """
    bits = np.empty(1, np.uint32)
    value = bits.view(np.float32)
    for index in range(before.size):
        old = np.float64(read(before[index]))  # two finite float32 may be further apart than one can hold
        moved = abs(np.float64(read(after[index])) - old)
        if old == 0 or not np.isfinite(moved):
            continue
        value[0] = moved / abs(old)
        bins[min(max(np.int64(bits[0] >> np.uint32(16)) - STEPS + 1, 0), BINS - 1)] += 1


def median_ratio(bins: npt.NDArray[np.int64]) -> float:
    """The median of the ratios counted, within 1 %; NaN where there are none.

    Example:
        >>> bins = np.zeros(BINS, dtype=np.int64)
        >>> count_ratios(np.full(9, 2, np.float32), np.full(9, 2.5, np.float32), bins)
        >>> round(median_ratio(bins), 2)
        0.25
    """
    ends = np.cumsum(bins)
    total = int(ends[-1])
    if total == 0:
        return math.nan
    lower, upper = (int(np.searchsorted(ends, rank, side="right")) for rank in ((total - 1) // 2, total // 2))
    return (_middle(lower) + _middle(upper)) / 2


def _middle(index: int) -> float:
    if index == 0:
        return 0.0
    if index == BINS - 1:
        return math.inf
    exponent, fraction = divmod(index - 1, STEPS)
    return math.ldexp(1 + (fraction + 0.5) / STEPS, exponent + LOWEST)
