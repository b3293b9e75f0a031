from __future__ import annotations

import numpy as np
import pytest

from weightatlas.change.summing.loops import BLOCK, add_norms, add_pair, add_start, add_update
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

Array = np.ndarray

SIZES = (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7)


def weights(elements: int, count: int, scale: float = 1.0) -> list[Array]:
    walk = np.random.default_rng(elements).standard_normal((count, elements)).cumsum(0)
    return list((scale * walk).astype(np.float32))


def pair_sums(before: Array, after: Array) -> dict[int, float]:
    old, new = before.astype(np.float64), after.astype(np.float64)
    moved, weight, kept = np.abs(new - old), np.abs(old), before != 0
    return {
        DISTANCE: moved.sum(),
        SIZE: weight.sum(),
        DISTANCE_2: (moved**2).sum(),
        SIZE_2: (weight**2).sum(),
        AFTER_2: (new**2).sum(),
        RATIOS: (moved[kept] / weight[kept]).sum(),
        FROM_ZERO: moved[~kept].sum(),
        ZEROS: (~kept).sum(),
    }


def assert_sums(found: Array, expected: dict[int, float]) -> None:
    for index in range(SUMS):
        assert found[index] == pytest.approx(expected.get(index, 0), rel=1e-6, abs=0), index


@pytest.mark.parametrize("elements", SIZES)
def test_the_sums_of_a_pair(elements: int) -> None:
    before, after = weights(elements, 2)
    sums = np.zeros(SUMS)
    add_pair(before, after, sums)
    assert_sums(sums, pair_sums(before, after))
    norms = np.zeros(SUMS)
    add_norms(before, after, norms)
    assert_sums(norms, {index: pair_sums(before, after)[index] for index in (DISTANCE, SIZE)})


@pytest.mark.parametrize("elements", SIZES)
def test_the_sums_of_the_update_before_and_of_the_start(elements: int) -> None:
    start, previous, before, after = (weight.astype(np.float64) for weight in weights(elements, 4))
    sums = np.zeros(SUMS)
    add_update(previous.astype(np.float32), before.astype(np.float32), after.astype(np.float32), sums)
    last = before - previous
    assert sums[DOT] == pytest.approx((last * (after - before)).sum(), abs=1e-6 * elements)
    expected = {
        PREVIOUS_2: (last**2).sum(),
        FROM_START: np.abs(after - start).sum(),
        START: np.abs(start).sum(),
        FROM_START_2: ((after - start) ** 2).sum(),
        START_2: (start**2).sum(),
    }
    add_start(start.astype(np.float32), after.astype(np.float32), sums)
    sums[DOT] = 0
    assert_sums(sums, expected)


@pytest.mark.parametrize(
    "zeros",
    [[], [0], [BLOCK - 1], [BLOCK], [BLOCK, 4 * BLOCK], range(BLOCK), range(BLOCK, 2 * BLOCK), range(3, 6 * BLOCK, 2)],
    ids=str,
)
def test_zeros_in_any_blocks(zeros: list[int]) -> None:
    before, after = weights(6 * BLOCK, 2)
    before[zeros] = 0
    sums = np.zeros(SUMS)
    add_pair(before, after, sums)
    assert_sums(sums, pair_sums(before, after))


@pytest.mark.parametrize("scale", [1e37, 1e20, 1e-20, 1e-38, 1e-44])
def test_blocks_that_leave_the_range_of_float32_are_summed_in_float64(scale: float) -> None:
    before, after = weights(2 * BLOCK, 2)
    before[:BLOCK] *= np.float32(scale)
    after[:BLOCK] *= np.float32(scale)
    sums = np.zeros(SUMS)
    add_pair(before[:BLOCK], after[:BLOCK], sums)
    assert_sums(sums, pair_sums(before[:BLOCK], after[:BLOCK]))
    sums[:] = 0
    add_pair(before, after, sums)
    assert_sums(sums, pair_sums(before, after))


def test_ratios_below_the_range_of_float32_are_not_lost() -> None:
    before, after = np.full(5, 1e38, np.float32), np.full(5, 1e38, np.float32)
    before[0], after[0] = 1e-10, 1e-10
    before[1], after[1] = -1e30, np.nextafter(np.float32(-1e30), np.float32(0))
    sums = np.zeros(SUMS)
    add_pair(before, after, sums)
    assert_sums(sums, pair_sums(before, after))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_once_for_each_side(bad: float) -> None:
    before, after = weights(5 * BLOCK, 2)
    before[[2, BLOCK + 1, BLOCK + 2]] = bad
    after[[0, 4 * BLOCK]] = bad
    for add in (add_pair, add_norms):
        sums = np.zeros(SUMS)
        add(before, after, sums)
        assert (sums[BEFORE_NOT_FINITE], sums[AFTER_NOT_FINITE]) == (3, 2)


def test_overflow_of_sums_is_not_taken_for_infinite_weights() -> None:
    before, after = np.full(BLOCK, 3e38, np.float32), np.full(BLOCK, -3e38, np.float32)
    for add in (add_pair, add_norms):
        sums = np.zeros(SUMS)
        add(before, after, sums)
        assert (sums[BEFORE_NOT_FINITE], sums[AFTER_NOT_FINITE]) == (0, 0)
        assert sums[DISTANCE] == pytest.approx(2 * sums[SIZE])


def test_nothing_is_added_for_no_weights() -> None:
    empty, sums = np.zeros(0, np.float32), np.zeros(SUMS)
    add_pair(empty, empty, sums)
    add_norms(empty, empty, sums)
    add_update(empty, empty, empty, sums)
    add_start(empty, empty, sums)
    assert not sums.any()
