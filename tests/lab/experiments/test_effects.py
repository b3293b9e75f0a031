from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from weightatlas.lab.experiments.effects import mean_interval, paired_effect

figures = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=8)


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_the_interval_and_p_are_those_of_the_paired_t_test(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    baseline = generator.normal(0.3, 0.1, size=seeds)
    values = baseline - 0.2 + generator.normal(0, 0.05, size=seeds)
    effect = paired_effect(values, baseline)
    expected = ttest_rel(values, baseline)
    interval = expected.confidence_interval(0.95)
    assert effect.difference.low == pytest.approx(interval.low, rel=1e-12)
    assert effect.difference.high == pytest.approx(interval.high, rel=1e-12)
    assert effect.difference.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert effect.difference.mean == pytest.approx(effect.variant.mean - effect.baseline.mean)
    own = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (effect.variant.low, effect.variant.high) == pytest.approx((own.low, own.high))


def test_the_interval_covers_the_true_effect_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    tries, effect, hits = 4000, -0.2, 0
    for _ in range(tries):
        luck = generator.normal(0, 0.5, size=3)  # each seed's own, which pairing takes out
        baseline = 0.3 + luck + generator.normal(0, 0.02, size=3)
        found = paired_effect(0.3 + effect + luck + generator.normal(0, 0.02, size=3), baseline).difference
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= effect <= found.high
    assert hits / tries == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / tries))


@given(figures, st.floats(-1, 1))
def test_what_both_have_in_common_does_not_matter_and_turning_the_two_turns_the_sign(
    pairs: list[tuple[float, float]], shift: float
) -> None:
    values, baseline = np.array(pairs).T
    found = paired_effect(values, baseline).difference
    moved = paired_effect(values + shift, baseline + shift).difference
    turned = paired_effect(baseline, values).difference
    assert moved.mean == pytest.approx(found.mean, abs=1e-9)
    assert moved.high == pytest.approx(found.high, abs=1e-7)
    assert turned.low == pytest.approx(-(found.high or 0.0))


def test_one_seed_has_a_mean_and_no_interval() -> None:
    effect = paired_effect([0.1], [0.3])
    assert effect.difference.mean == pytest.approx(-0.2)
    assert (effect.difference.low, effect.difference.high, effect.difference.p_value) == (None, None, None)
    assert effect.kept == pytest.approx(1 / 3)


def test_pairs_with_a_missing_side_are_left_out_and_none_at_all_is_said() -> None:
    effect = paired_effect([0.1, math.nan, 0.2], [0.3, 0.3, math.nan])
    assert effect.pairs == 1
    assert effect.baseline.mean == 0.3
    nothing = paired_effect([math.nan], [1.0])
    assert nothing.pairs == 0
    assert math.isnan(nothing.difference.mean)


def test_equal_differences_have_an_interval_without_width() -> None:
    same = mean_interval([1.0, 1.0, 1.0])
    assert (same.low, same.high, same.p_value) == (1.0, 1.0, 0.0)
    none = mean_interval([0.0, 0.0])
    assert (none.low, none.high, none.p_value) == (0.0, 0.0, 1.0)


def test_nothing_is_kept_of_a_baseline_that_is_not_told_from_zero() -> None:
    assert math.isnan(paired_effect([0.1, 0.2, 0.3], [0.01, -0.02, 0.01]).kept)
    assert math.isnan(paired_effect([0.1], [0.0]).kept)


@pytest.mark.parametrize(
    ("values", "baseline", "confidence", "message"),
    [
        ([1.0], [1.0, 2.0], 0.95, "one value a seed"),
        ([[1.0]], [[1.0]], 0.95, "one value a seed"),
        ([math.inf, 1.0], [1.0, 1.0], 0.95, "finite"),
        ([1.0, 2.0], [1.0, 1.0], 1.0, "confidence"),
    ],
)
def test_bad_input_is_refused(values: list[float], baseline: list[float], confidence: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_effect(values, baseline, confidence=confidence)
