from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.cluster import expected_mutual_information

from tests.reference import enrichment as slow
from weightatlas.branching.gathering import information as module
from weightatlas.branching.gathering.information import dependence, entropy, mutual_information, permuted_tables


def table_of(families: list[int], branches: list[int]) -> np.ndarray:
    table = np.zeros((max(families) + 1, max(branches) + 1), dtype=np.int64)
    np.add.at(table, (families, branches), 1)
    return table


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40))
def test_information_is_that_of_the_definition(units: list[tuple[int, int]]) -> None:
    families, branches = (list(each) for each in zip(*units, strict=True))
    table = table_of(families, branches)
    assert mutual_information(table) == pytest.approx(slow.information(families, branches), abs=1e-12)
    assert mutual_information(table.T) == pytest.approx(float(mutual_information(table)), abs=1e-12)
    bound = min(entropy(table.sum(axis=0)), entropy(table.sum(axis=1)))
    assert -1e-12 <= mutual_information(table) <= bound + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=7))
def test_few_tables_are_counted_exactly(units: list[tuple[int, int]]) -> None:
    families, branches = (list(each) for each in zip(*units, strict=True))
    found = dependence(table_of(families, branches), permutations=9, seed=0)
    every = np.array(slow.permuted_information(families, branches))
    assert found.exact
    assert found.p_value == pytest.approx(np.mean(every >= every[0] - 1e-9))
    assert found.null_mean == pytest.approx(every.mean(), abs=1e-9)
    assert found.null_std == pytest.approx(every.std(), abs=1e-7)


def test_drawn_tables_agree_with_counted_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.array([[9, 3, 4], [5, 10, 9]])
    counted = dependence(table, permutations=1, seed=0)
    monkeypatch.setattr(module, "EXACT_UP_TO", 0)
    drawn = dependence(table, permutations=20_000, seed=0)
    assert counted.exact
    assert not drawn.exact
    assert 0.02 < counted.p_value < 0.5
    assert drawn.p_value == pytest.approx(counted.p_value, abs=4 * np.sqrt(counted.p_value / 20_000))
    assert drawn.null_mean == pytest.approx(counted.null_mean, abs=4 * counted.null_std / np.sqrt(20_000))
    assert drawn.null_std == pytest.approx(counted.null_std, rel=0.05)


def test_the_nulls_mean_is_the_expectation_of_the_hypergeometric_model() -> None:
    table = np.random.default_rng(0).integers(0, 12, (9, 4))
    found = dependence(table, permutations=9999, seed=0)
    expected = expected_mutual_information(table, int(table.sum())) / np.log(2)
    assert found.null_mean == pytest.approx(expected, abs=4 * found.null_std / np.sqrt(9999))


def test_permuted_tables_keep_their_margins_and_their_empty_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", 60)
    table = np.array([[4, 0, 2], [0, 0, 0], [1, 0, 5]])
    drawn = list(permuted_tables(table, 20, seed=0))
    assert len(drawn) > 1
    tables = np.concatenate(drawn)
    assert len(tables) == 20
    np.testing.assert_array_equal(tables.sum(axis=1), np.tile(table.sum(axis=0), (20, 1)))
    np.testing.assert_array_equal(tables.sum(axis=2), np.tile(table.sum(axis=1), (20, 1)))
    assert len(np.unique(tables, axis=0)) > 1


@pytest.mark.parametrize("table", [[[5]], [[5, 3]], [[5], [3]], [[0, 0], [0, 0]], np.zeros((0, 3), dtype=int)])
def test_one_part_tells_nothing(table: object) -> None:
    found = dependence(np.array(table), permutations=99, seed=0)
    assert (found.information, found.null_mean, found.null_std, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_single_table_is_permuted_into_itself() -> None:
    assert np.concatenate(list(permuted_tables(np.array([[7]]), 3, seed=0))).ravel().tolist() == [7, 7, 7]


def test_the_smallest_drawn_p_is_one_in_one_more_than_the_draws() -> None:
    assert dependence(np.diag([40, 40, 40, 40]), permutations=999, seed=0).p_value == 1 / 1000


def test_the_seed_decides() -> None:
    table = np.random.default_rng(1).integers(0, 9, (6, 5))
    first, again, other = (dependence(table, permutations=99, seed=seed).null_mean for seed in (3, 3, 4))
    assert first == again
    assert first != other
