from __future__ import annotations

import math

import numpy as np
import pytest

from weightatlas.connectivity.scoring.heights import Reference, band_of_maximum, height, reference_line

ALPHAS = np.linspace(0, 1, 11)
HOW: tuple[Reference, ...] = ("chord", "mean")


def curves(rng: np.random.Generator, examples: int, peak: float) -> np.ndarray:
    """Skewed curves of many examples, pinned to 0 at both ends, whose mean rises to `peak` in the middle."""
    shape = 4 * ALPHAS * (1 - ALPHAS)
    width = np.sin(np.pi * ALPHAS)[:, None] * (rng.exponential(size=examples) - 1)
    skew = np.sin(2 * np.pi * ALPHAS)[:, None] * (rng.exponential(size=examples) - 1)
    rough = rng.exponential(size=(len(ALPHAS), examples)) - 1
    rough[[0, -1]] = 0
    total: np.ndarray = peak * shape[:, None] + width + skew + rough
    return total


def coverage(peak: float, *, trials: int = 250) -> tuple[float, float]:
    """How often the interval's lower end is above the truth, and its upper end below."""
    rng = np.random.default_rng(0)
    ends = np.array([band_of_maximum(curves(rng, 200, peak), confidence=0.95, seed=0) for _ in range(trials)])
    return float((ends[:, 0] > peak).mean()), float((ends[:, 1] < peak).mean())


def naive_coverage(*, trials: int = 200) -> float:
    """The same of the lower end of the percentile bootstrap of the maximum, on a curve that is flat."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(trials):
        values = curves(rng, 200, 0.0)
        counts = rng.multinomial(200, np.full(200, 1 / 200), size=300)
        missed += bool(np.quantile((counts @ values.T / 200).max(axis=1), 0.025) > 0)
    return missed / trials


def test_the_interval_holds_the_maximum_as_often_as_it_says_with_a_peak_and_without() -> None:
    for peak in (0.0, 0.5):
        above, below = coverage(peak)
        assert above <= 0.05, peak  # 2.5 % of 250, and two and a half standard errors
        assert below <= 0.05, peak


def test_resampling_the_maximum_would_find_barriers_where_there_are_none() -> None:
    assert naive_coverage() > 0.1


def test_it_is_no_wider_than_it_must_be_where_one_point_stands_out() -> None:
    values = curves(np.random.default_rng(1), 400, 8.0)
    low, high = band_of_maximum(values, confidence=0.95, seed=0)
    standard_error = values[5].std(ddof=1) / math.sqrt(400)
    assert 2 * 1.96 * standard_error * 0.95 < high - low < 2 * 3.0 * standard_error


def test_with_one_point_it_is_students_interval() -> None:
    from scipy import stats

    values = np.random.default_rng(0).normal(size=(1, 12))
    found = band_of_maximum(values, confidence=0.9, seed=0)
    expected = stats.ttest_1samp(values[0], 0).confidence_interval(0.9)
    assert found == pytest.approx((expected.low, expected.high), abs=0.03)


def test_height_alpha_and_midpoint_are_those_of_the_mean_curve() -> None:
    values = np.array([[0.0, 2.0], [3.0, 3.0], [1.0, 2.0], [1.0, 1.0], [4.0, 0.0]])
    alphas = np.linspace(0, 1, 5)
    found = height(alphas, values, reference="chord", confidence=0.95, seed=0)
    assert (found.height, found.alpha, found.midpoint) == (1.75, 0.25, 0.0)
    mean = height(alphas, values + np.arange(5)[:, None], reference="mean", confidence=0.95, seed=0)
    assert mean.height == values[-1].mean() + 4 - (1 + 6) / 2
    assert mean.alpha == 1.0


def test_equal_curves_have_no_height_to_the_last_bit() -> None:
    values = np.tile(np.random.default_rng(0).normal(size=50), (11, 1))
    found = height(ALPHAS, values, reference="chord", confidence=0.95, seed=0)
    assert (found.height, found.low, found.high, found.midpoint, found.resolution) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_points_that_are_not_finite_are_left_out_and_then_the_resolution_is_unknown() -> None:
    values = np.array([[0.0, 0.0], [1.0, 1.0], [np.nan, np.nan], [0.5, 0.5], [0.0, 0.0]])
    found = height(np.linspace(0, 1, 5), values, reference="chord", confidence=0.95, seed=0)
    assert (found.height, found.alpha, found.resolution) == (1.0, 0.25, math.inf)
    assert math.isnan(found.midpoint)
    nothing = height(np.linspace(0, 1, 5), values * np.nan, reference="chord", confidence=0.95, seed=0)
    assert math.isnan(nothing.height)


def test_a_single_example_has_no_interval() -> None:
    assert all(math.isnan(end) for end in band_of_maximum(np.zeros((3, 1)), confidence=0.95, seed=0))


def test_the_references_agree_where_both_ends_are_equal() -> None:
    values = np.array([1.0, 5.0, 1.0])
    chord, mean = (reference_line(values, np.linspace(0, 1, 3), how) for how in HOW)
    assert chord.tolist() == mean.tolist() == [1.0, 1.0, 1.0]
