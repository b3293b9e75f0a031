from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from weightatlas.lab.experiments.degeneracy_ranks import TRIED, rank_correlation


@pytest.mark.parametrize("count", [4, 5, 7, 12])
def test_rho_is_spearman_s_with_ties_too(count: int) -> None:
    generator = np.random.default_rng(count)
    for _ in range(20):
        first, second = generator.integers(0, 5, (2, count)).tolist()
        found = rank_correlation(first, second)
        if len(set(first)) == 1 or len(set(second)) == 1:
            assert found is None
        else:
            assert found is not None
            assert found.rho == pytest.approx(spearmanr(first, second).statistic)


def test_p_is_the_share_of_all_orders_that_are_as_extreme() -> None:
    found = rank_correlation([1, 2, 3, 4], [10, 20, 30, 40])
    assert found is not None
    assert found.p_value == pytest.approx(2 / 24)
    assert found.orders == 24


def test_many_runs_are_compared_with_a_sample_of_orders() -> None:
    found = rank_correlation(list(range(12)), list(range(12)))
    assert found is not None
    assert (found.p_value, found.orders) == (1 / (1 + TRIED), TRIED)
    assert rank_correlation(list(range(12)), list(range(12))) == found


@pytest.mark.parametrize("count", [5, 9])
def test_of_independent_figures_one_in_twenty_is_below_five_per_cent(count: int) -> None:
    generator = np.random.default_rng(1)
    p_values = []
    for _ in range(60 if count > 7 else 200):
        found = rank_correlation(*generator.normal(size=(2, count)).tolist())
        assert found is not None
        p_values.append(found.p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.11
    assert 0.3 < np.mean(p_values) < 0.7


def test_too_few_or_the_same_in_all_is_no_correlation() -> None:
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
    with pytest.raises(ValueError, match="one value a run each"):
        rank_correlation([1, 2, 3, 4], [1, 2])
