from __future__ import annotations

import math

import numpy as np
import pytest

from weightatlas.change.summing.sums import (
    AFTER_2,
    AFTER_NOT_FINITE,
    BEFORE_NOT_FINITE,
    DISTANCE,
    DISTANCE_2,
    DOT,
    EPSILON,
    FROM_START,
    FROM_START_2,
    FROM_ZERO,
    OF_PAIR,
    OF_START,
    PREVIOUS_2,
    RATIOS,
    SIZE,
    SIZE_2,
    START,
    START_2,
    SUMS,
    ZEROS,
    figures,
)


def of(values: dict[int, float]) -> np.ndarray:
    result = np.zeros(SUMS)
    for index, value in values.items():
        result[index] = value
    return result


PAIR = {DISTANCE: 1.0, SIZE: 4.0, DISTANCE_2: 9.0, SIZE_2: 36.0, AFTER_2: 25.0, RATIOS: 6.0}


def test_the_figures_of_a_pair() -> None:
    found = figures(of(PAIR), 12)
    assert (found.ratio_l1, found.ratio_l2, found.elementwise, found.zeros, found.elements) == (0.25, 0.5, 0.5, 0, 12)
    assert math.isnan(found.cosine)
    assert math.isnan(found.from_start)
    assert math.isnan(found.angle_from_start)


@pytest.mark.parametrize(("zero", "expected"), [("skip", 6 / 9), ("inf", math.inf), ("eps", (6 + 0.5 / EPSILON) / 12)])
def test_zeros_are_left_out_infinite_or_nearly_so(zero: str, expected: float) -> None:
    found = figures(of(PAIR | {ZEROS: 3, FROM_ZERO: 0.5}), 12, zero=zero)  # type: ignore[arg-type]
    assert (found.elementwise, found.zeros) == (expected, 3)


def test_zeros_that_stay_are_nothing_or_not_a_number() -> None:
    stay = of(PAIR | {ZEROS: 3})
    assert figures(stay, 12).elementwise == 6 / 9
    assert figures(stay, 12, zero="eps").elementwise == 6 / 12
    assert math.isnan(figures(stay, 12, zero="inf").elementwise)


def test_a_figure_over_nothing_is_infinite_or_not_a_number() -> None:
    grown = figures(of({DISTANCE: 2.0, DISTANCE_2: 4.0, ZEROS: 5, FROM_ZERO: 2.0}), 5)
    assert (grown.ratio_l1, grown.ratio_l2) == (math.inf, math.inf)
    assert math.isnan(grown.elementwise)
    stayed = figures(of({ZEROS: 5}), 5, with_previous=True, with_start=True)
    for value in (stayed.ratio_l1, stayed.ratio_l2, stayed.cosine, stayed.from_start, stayed.angle_from_start):
        assert math.isnan(value)


def test_the_cosine_of_two_updates_stays_within_its_range() -> None:
    for dot, expected in ((12.0, 1.0), (12.0000001, 1.0), (-12.0000001, -1.0), (6.0, 0.5), (0.0, 0.0)):
        found = figures(of(PAIR | {PREVIOUS_2: 16.0, DOT: dot}), 12, with_previous=True)
        assert found.cosine == expected
    assert math.isnan(figures(of(PAIR | {DOT: 1.0}), 12, with_previous=True).cosine)


@pytest.mark.parametrize("turn", [0.0, 1e-6, 0.1, math.pi / 2, 3.0, math.pi])
@pytest.mark.parametrize("length", [0.5, 1.0, 7.0])
def test_the_angle_from_the_three_sides_of_a_triangle(turn: float, length: float) -> None:
    between = (1 - length) ** 2 + 4 * length * math.sin(turn / 2) ** 2
    sides = {START: 1.0, FROM_START: 0.5, START_2: 1.0, AFTER_2: length**2, FROM_START_2: between}
    found = figures(of(PAIR | sides), 12, with_start=True)
    assert found.from_start == 0.5
    assert found.angle_from_start == pytest.approx(turn, abs=3e-8 if length == 1 else 3e-7)
    assert 0 <= found.angle_from_start <= math.pi


def test_what_is_not_finite_is_named_and_has_no_figures() -> None:
    for before, after, reason in (
        (1, 0, "NaN or infinite weights among 2,000: 1 before"),
        (0, 1500, "NaN or infinite weights among 2,000: 1,500 after"),
        (2, 3, "NaN or infinite weights among 2,000: 2 before and 3 after"),
    ):
        found = figures(of(PAIR | {BEFORE_NOT_FINITE: before, AFTER_NOT_FINITE: after}), 2000)
        assert (found.skipped, found.not_finite, found.zeros) == (reason, (before, after), None)
        assert math.isnan(found.ratio_l1)


def test_only_norms_knows_no_other_sums() -> None:
    found = figures(of({DISTANCE: 1.0, SIZE: 4.0}), 12, only_norms=True, with_start=True)
    assert (found.ratio_l1, found.zeros) == (0.25, None)
    assert math.isnan(found.elementwise)
    assert math.isnan(found.from_start)


def test_the_sums_of_a_pair_and_of_the_start_have_the_same_order() -> None:
    assert list(range(SUMS))[OF_PAIR] == [DISTANCE, SIZE, DISTANCE_2, SIZE_2]
    assert list(range(SUMS))[OF_START] == [FROM_START, START, FROM_START_2, START_2]
