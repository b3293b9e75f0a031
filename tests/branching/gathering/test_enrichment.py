from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.reference import enrichment as slow
from weightatlas.branching.gathering.enrichment import enrichment
from weightatlas.branching.gathering.membership import Partition


def one_pair(k: int, family_size: int, branch_size: int, layer_size: int) -> tuple[float, float]:
    """p and the binomial figure of a family with k units in the first branch."""
    labels = np.where(np.arange(layer_size) < branch_size, 0, 1)
    units = np.r_[np.arange(k), branch_size + np.arange(family_size - k)]
    pair = enrichment({"family": units}, Partition(("small", "rest"), labels))[0]
    assert (pair.k, pair.family_size, pair.branch_size, pair.layer_size) == (k, family_size, branch_size, layer_size)
    return pair.p_value, pair.binomial


@pytest.mark.parametrize(
    ("sizes", "p_value", "binomial"),
    [((9, 9, 32, 256), 2.48e-9, 7.45e-9), ((30, 30, 96, 480), 1.68e-23, 1.07e-21)],
)
def test_the_articles_figures(sizes: tuple[int, int, int, int], p_value: float, binomial: float) -> None:
    found = one_pair(*sizes)
    assert found[0] == pytest.approx(p_value, rel=2e-3)
    assert found[1] == pytest.approx(binomial, rel=2e-3)
    k, _, branch, layer = sizes
    assert found[1] == pytest.approx((branch / layer) ** k, rel=1e-9)  # the whole family: what the article computes


@pytest.mark.parametrize(("branch_size", "layer_size"), [(1, 1), (1, 7), (3, 7), (32, 256), (204, 508), (1000, 4096)])
def test_tails_are_those_of_exact_fractions(branch_size: int, layer_size: int) -> None:
    rest = layer_size - branch_size
    for k, others in itertools.product({0, 1, branch_size // 2, branch_size}, {0, min(1, rest), rest // 3, rest}):
        if k + others == 0:
            continue
        found = one_pair(k, k + others, branch_size, layer_size)
        exact = slow.hypergeometric_tail(k, k + others, branch_size, layer_size)
        if exact > 1e-300:
            assert found[0] == pytest.approx(float(exact), rel=1e-9)
        if k + others <= 40:
            binomial = slow.binomial_tail(k, k + others, branch_size, layer_size)
            assert found[1] == pytest.approx(float(binomial), rel=1e-9, abs=1e-300)


def test_q_values_are_over_all_pairs_of_the_layer() -> None:
    generator = np.random.default_rng(0)
    branches = Partition(("a", "b", "c"), generator.integers(0, 3, 90))
    members = {str(size): generator.choice(90, size, replace=False) for size in (3, 9, 20, 41)}
    pairs = enrichment(members, branches)
    assert len(pairs) == 12
    np.testing.assert_allclose([pair.q_value for pair in pairs], slow.adjusted([pair.p_value for pair in pairs]))


def test_units_in_no_branch_are_not_counted() -> None:
    labels = np.array([0, 0, 1, 1, -1, -1])
    pair = enrichment({"f": np.array([0, 1, 4])}, Partition(("a", "b"), labels))[0]
    assert (pair.k, pair.family_size, pair.branch_size, pair.layer_size) == (2, 2, 2, 4)
    assert pair.p_value == pytest.approx(1 / 6)
    assert pair.expected == 1.0


def test_an_empty_family_is_not_tested_and_costs_the_others_nothing() -> None:
    branches = Partition(("a", "b"), np.array([0, 0, 0, 1, 1, 1]))
    alone = enrichment({"f": np.array([0, 1, 2])}, branches)
    beside = enrichment({"f": np.array([0, 1, 2]), "empty": np.array([], dtype=np.int64)}, branches)
    assert beside[:2] == alone
    assert all(np.isnan(pair.p_value) and pair.skipped for pair in beside[2:])
