from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from weightatlas.connectivity.rank_agreement import rank_agreement

RUNS = 200


def drawn(count: int, correlation: float, seed: int) -> tuple[list[float], list[float]]:
    generator = np.random.default_rng(seed)
    one, noise = generator.standard_normal((2, count))
    return one.tolist(), (correlation * one + math.sqrt(1 - correlation**2) * noise).tolist()


@pytest.mark.parametrize(("count", "rounded"), [(4, False), (12, False), (30, True)])
def test_it_is_spearmans_correlation_as_scipy_has_it(count: int, *, rounded: bool) -> None:
    one, other = (np.round(part, 0 if rounded else 9).tolist() for part in drawn(count, 0.5, 0))
    found = rank_agreement(one, other, tries=19, resamples=19)
    assert found.rho == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found.count == count


def test_few_pairs_are_tried_in_every_order() -> None:
    one, other = drawn(5, 0.9, 1)

    def correlation(ranks: np.ndarray) -> float:
        return float(stats.spearmanr(ranks, other).statistic)

    expected = stats.permutation_test((one,), correlation, permutation_type="pairings", alternative="two-sided")
    assert rank_agreement(one, other).p_value == pytest.approx(expected.pvalue)
    assert rank_agreement([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]).p_value == pytest.approx(2 / 6)


def test_more_pairs_are_tried_in_some_and_the_observed_order_counts() -> None:
    one, other = list(range(20)), list(range(20))
    assert rank_agreement(one, other, tries=99).p_value == 1 / 100


def test_where_there_is_no_agreement_one_test_in_twenty_finds_some() -> None:
    """10 of 200 are expected; more than 20 come by chance once in 1,000."""
    found = [rank_agreement(*drawn(10, 0, seed), tries=199, resamples=199, seed=seed) for seed in range(RUNS)]
    assert 1 <= sum(one.p_value <= 0.05 for one in found) <= 20
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.85


def test_planted_agreement_is_found_and_lies_in_its_interval() -> None:
    planted = 6 / math.pi * math.asin(0.8 / 2)  # Spearman's of a bivariate normal
    found = [rank_agreement(*drawn(40, 0.8, seed), tries=199, resamples=199, seed=seed) for seed in range(RUNS)]
    assert np.mean([one.p_value <= 0.05 for one in found]) > 0.95
    assert np.mean([one.low <= planted <= one.high for one in found]) > 0.88, "of 95 %; a bootstrap falls short"


def test_any_monotone_scale_gives_the_same() -> None:
    one, other = drawn(9, 0.6, 2)
    assert rank_agreement(one, other) == rank_agreement([10 * value + 3 for value in one], np.exp(other).tolist())


def test_figures_by_name_are_paired_by_name() -> None:
    predicted, measured = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 4.0}, {"d": 0.3, "c": 0.4, "b": 0.2, "a": 0.1}
    assert rank_agreement(predicted, measured).rho == 1
    with pytest.raises(ValueError, match="one of the two has no d"):
        rank_agreement(predicted, {"a": 0.1, "b": 0.2, "c": 0.4})
    with pytest.raises(ValueError, match="as many predicted figures as measured ones, not 2 and 3"):
        rank_agreement([1.0, 2.0], [1.0, 2.0, 3.0])


def test_pairs_that_are_not_finite_are_left_out() -> None:
    found = rank_agreement([1.0, math.nan, 3.0, 4.0, 9.0], [1.0, 2.0, 3.0, math.inf, 5.0])
    assert (found.rho, found.count) == (1, 3)


@pytest.mark.parametrize("pair", [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0] * 4, [1.0, 2.0, 3.0, 4.0])])
def test_without_an_order_there_is_no_correlation(pair: tuple[list[float], list[float]]) -> None:
    found = rank_agreement(*pair)
    assert math.isnan(found.rho)
    assert math.isnan(found.p_value)
    assert found.count == len(pair[0])
