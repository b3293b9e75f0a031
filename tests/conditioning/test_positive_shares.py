from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from weightatlas.conditioning.positive_shares import gaussian_positive, share_bounds, units_to_show


@pytest.mark.parametrize("count", [0, 1, 7, 39, 40])
def test_for_counts_the_bounds_are_those_of_clopper_and_pearson(count: int) -> None:
    expected = stats.binomtest(count, 40).proportion_ci(0.9, method="exact")
    low, high = share_bounds(count / 40, 40)
    low_alone = stats.binomtest(count, 40, alternative="greater").proportion_ci(0.95, method="exact").low
    assert float(low) == pytest.approx(low_alone)
    assert 0 < count < 40 or float(high) == pytest.approx(1 - 0.05 ** (1 / 40) if count == 0 else 1.0)
    if 0 < count < 40:
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("alpha", "beta"), [(0.05, 5.0), (0.5, 0.5), (2.0, 20.0)])
def test_the_true_share_lies_within_each_bound_at_least_95_times_in_100(alpha: float, beta: float) -> None:
    generator = np.random.default_rng(0)
    shares = generator.beta(alpha, beta, size=(2000, 100)).mean(axis=1)
    low, high = share_bounds(shares, 100)
    true = alpha / (alpha + beta)
    assert np.mean(low <= true) >= 0.945
    assert np.mean(high >= true) >= 0.945


@pytest.mark.parametrize("threshold", [0.5, 0.05, 1e-3])
def test_as_many_silent_examples_as_are_needed_show_a_channel_dead_and_one_fewer_does_not(threshold: float) -> None:
    needed = units_to_show(threshold)
    assert share_bounds(0.0, needed)[1] <= threshold < share_bounds(0.0, needed - 1)[1]


def test_what_is_not_known_has_no_bounds() -> None:
    assert np.isnan(share_bounds([np.nan], 10)).all()
    assert np.isnan(gaussian_positive([np.nan, 0.0], [1.0, np.nan])).all()


def test_the_gaussian_null_is_what_gaussian_channels_give() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal([-1.0, 0.3], [0.5, 2.0], size=(200_000, 2))
    np.testing.assert_allclose(gaussian_positive([-1.0, 0.3], [0.5, 2.0]), (values > 0).mean(axis=0), atol=0.004)
    assert gaussian_positive([-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]).tolist() == [0, 0, 1]
