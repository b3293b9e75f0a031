"""The loops of weight change: one pass over blocks that stay in the nearest caches, at the speed of memory.

Arrays are flat, of the stored type (`stored.as_stored`). Sums of a block run in float32 (float64 for such weights), so
that the compiler can keep them in vectors, and are added up in float64. Where that would overflow or underflow the
block is gone through again in float64.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from weightatlas.change.summing.stored import nothing, read
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
    ZEROS,
)

BLOCK: Final = 512
"""Elements that are summed in their own precision."""

REASSOCIATE: Final = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may do to sums: keep them in vectors. NaN and infinity keep their meaning."""

SMALL: Final = 1e-24
"""A block's sum of squares below which single squares may have been lost to underflow in float32."""

WIDE: Final = np.float64(0)

# ruff: noqa: ANN401 - arrays and numbers, typed by numba


@njit(nogil=True, cache=True)
def add_norms(before: Any, after: Any, sums: Any) -> None:
    """Add the two sums of equation 1 alone."""
    for low in range(0, before.size, BLOCK):
        old, new = before[low : low + BLOCK], after[low : low + BLOCK]
        distance, size = _norms(old, new, nothing(old[0]))
        if not np.isfinite(distance + size):
            distance, size = _norms(old, new, WIDE)
            sums[BEFORE_NOT_FINITE] += _not_finite(old)
            sums[AFTER_NOT_FINITE] += _not_finite(new)
        sums[DISTANCE] += distance
        sums[SIZE] += size


@njit(nogil=True, cache=True)
def add_pair(before: Any, after: Any, sums: Any) -> None:
    """Add all sums of a pair."""
    has_zeros = False  # as the block before: pruned weights are gone through once
    for low in range(0, before.size, BLOCK):
        old, new = before[low : low + BLOCK], after[low : low + BLOCK]
        from_zero, zeros = 0.0, 0
        if not has_zeros:
            distance, size, distance_2, size_2, after_2, ratios = _without_zeros(old, new, nothing(old[0]))
        if has_zeros or not np.isfinite(ratios):
            distance, size, distance_2, size_2, after_2, ratios, from_zero, zeros = _pair(old, new, nothing(old[0]))
            has_zeros = zeros > 0
        is_lost = not np.isfinite(distance_2 + size_2 + after_2 + ratios)
        is_small = distance_2 < SMALL and distance > 0
        if is_lost or is_small or (min(size_2, after_2) < SMALL and size + distance > 0):
            distance, size, distance_2, size_2, after_2, ratios, from_zero, zeros = _pair(old, new, WIDE)
        if is_lost:
            sums[BEFORE_NOT_FINITE] += _not_finite(old)
            sums[AFTER_NOT_FINITE] += _not_finite(new)
        sums[DISTANCE] += distance
        sums[SIZE] += size
        sums[DISTANCE_2] += distance_2
        sums[SIZE_2] += size_2
        sums[AFTER_2] += after_2
        sums[RATIOS] += ratios
        sums[FROM_ZERO] += from_zero
        sums[ZEROS] += zeros


@njit(nogil=True, cache=True)
def add_update(previous: Any, before: Any, after: Any, sums: Any) -> None:
    """Add what the cosine between two updates that follow each other needs beside the sums of the pair."""
    for low in range(0, before.size, BLOCK):
        older, old, new = previous[low : low + BLOCK], before[low : low + BLOCK], after[low : low + BLOCK]
        previous_2, dot = _update(older, old, new, nothing(old[0]))
        is_small = min(previous_2, abs(dot)) < SMALL  # also where they underflowed to 0
        if is_small or not np.isfinite(previous_2 + dot):
            previous_2, dot = _update(older, old, new, WIDE)
        sums[PREVIOUS_2] += previous_2
        sums[DOT] += dot


@njit(nogil=True, cache=True)
def add_start(start: Any, after: Any, sums: Any) -> None:
    """Add the distance from the first weights."""
    for low in range(0, start.size, BLOCK):
        first, new = start[low : low + BLOCK], after[low : low + BLOCK]
        from_start, size, from_start_2, size_2 = _start(first, new, nothing(first[0]))
        is_small = (from_start_2 < SMALL and from_start > 0) or (size_2 < SMALL and size > 0)
        if is_small or not np.isfinite(from_start_2 + size_2):
            from_start, size, from_start_2, size_2 = _start(first, new, WIDE)
        sums[FROM_START] += from_start
        sums[START] += size
        sums[FROM_START_2] += from_start_2
        sums[START_2] += size_2


# The loops over a block compute in the precision of `zero`, by adding it to what they read: x + 0 costs nothing.


@njit(fastmath=REASSOCIATE, error_model="numpy", nogil=True, cache=True)
def _norms(before: Any, after: Any, zero: Any) -> Any:
    distance, size = zero, zero
    for index in range(before.size):
        weight = read(before[index]) + zero
        distance += abs(read(after[index]) + zero - weight)
        size += abs(weight)
    return distance, size


@njit(fastmath=REASSOCIATE, error_model="numpy", nogil=True, cache=True)
def _without_zeros(before: Any, after: Any, zero: Any) -> Any:
    """The sums of `_pair` at two thirds of its cost; the ratios are not finite where a weight is 0."""
    distance, size, distance_2, size_2, after_2, ratios = zero, zero, zero, zero, zero, zero
    for index in range(before.size):
        old, new = read(before[index]) + zero, read(after[index]) + zero
        weight = abs(old)
        moved = abs(new - old)
        distance += moved
        size += weight
        distance_2 += moved * moved
        size_2 += weight * weight
        after_2 += new * new
        ratios += moved / weight
    return distance, size, distance_2, size_2, after_2, ratios


@njit(fastmath=REASSOCIATE, error_model="numpy", nogil=True, cache=True)
def _pair(before: Any, after: Any, zero: Any) -> Any:
    distance, size, distance_2, size_2, after_2, ratios, from_zero = zero, zero, zero, zero, zero, zero, zero
    zeros = np.int32(0)
    infinity = zero + np.float32(np.inf)
    for index in range(before.size):
        old, new = read(before[index]) + zero, read(after[index]) + zero
        weight = abs(old)
        moved = abs(new - old)
        is_zero = weight == zero
        distance += moved
        size += weight
        distance_2 += moved * moved
        size_2 += weight * weight
        after_2 += new * new
        zeros += np.int32(is_zero)
        ratios += moved / (infinity if is_zero else weight)  # no branch around the division: it stays in vectors
        from_zero += moved if is_zero else zero
    return distance, size, distance_2, size_2, after_2, ratios, from_zero, zeros


@njit(fastmath=REASSOCIATE, error_model="numpy", nogil=True, cache=True)
def _update(previous: Any, before: Any, after: Any, zero: Any) -> Any:
    previous_2, dot = zero, zero
    for index in range(before.size):
        old = read(before[index]) + zero
        last = old - (read(previous[index]) + zero)
        previous_2 += last * last
        dot += last * (read(after[index]) + zero - old)
    return previous_2, dot


@njit(fastmath=REASSOCIATE, error_model="numpy", nogil=True, cache=True)
def _start(start: Any, after: Any, zero: Any) -> Any:
    from_start, size, from_start_2, size_2 = zero, zero, zero, zero
    for index in range(start.size):
        first = read(start[index]) + zero
        moved = abs(read(after[index]) + zero - first)
        from_start += moved
        size += abs(first)
        from_start_2 += moved * moved
        size_2 += first * first
    return from_start, size, from_start_2, size_2


@njit(nogil=True, cache=True)
def _not_finite(values: Any) -> int:
    count = 0
    for value in values:
        count += not np.isfinite(read(value))
    return count
