from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import implicit as slow
from weightatlas.branching.hidden.balancing import TOLERANCE, balance, balance_batch


def positive(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(size=(rows, columns)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_it_agrees_with_dividing_in_turn(rows: int, columns: int, seed: int) -> None:
    matrix = positive(rows, columns, seed) + 0.01
    found = balance(matrix)
    assert found.converged
    np.testing.assert_allclose(found.matrix, slow.balanced(matrix), rtol=1e-8)
    np.testing.assert_allclose(found.matrix.mean(axis=0), 1, atol=2 * TOLERANCE)
    np.testing.assert_allclose(found.matrix.mean(axis=1), 1, atol=2 * TOLERANCE)


def test_the_scales_give_the_matrix_back() -> None:
    matrix = 1e5 * positive(7, 9)
    found = balance(matrix)
    np.testing.assert_allclose(found.row_scales[:, None] * found.matrix * found.column_scales, matrix, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99))
def test_sizes_of_rows_and_columns_do_not_matter(seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = positive(8, 5, seed)
    sized = generator.lognormal(0, 2, size=(8, 1)) * matrix * generator.lognormal(0, 2, size=(1, 5))
    np.testing.assert_allclose(balance(sized).matrix, balance(matrix).matrix, rtol=1e-7)


def test_zero_rows_and_columns_are_removed() -> None:
    matrix = positive(5, 6)
    matrix[2] = matrix[:, [0, 4]] = 0
    found = balance(matrix)
    assert found.rows.tolist() == [True, True, False, True, True]
    assert found.columns.tolist() == [False, True, True, True, False, True]
    np.testing.assert_allclose(found.matrix, balance(matrix[found.rows][:, found.columns]).matrix)


def test_zeros_that_leave_no_balanced_form_are_told_by_the_error() -> None:
    found = balance(np.array([[1.0, 1.0], [0.0, 1.0]]), rounds=50)
    assert not found.converged
    assert 0.001 < found.error < 0.1


def test_scales_that_grow_for_ever_are_stopped() -> None:
    """Two columns that only one row feeds: no scales give all of them mean 1."""
    matrix = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    found = balance(matrix)
    assert not found.converged
    assert np.isfinite(found.matrix).all()
    assert np.isfinite(found.row_scales).all()
    assert np.isfinite(found.column_scales).all()


def test_many_are_balanced_as_each_alone() -> None:
    batch = np.stack([positive(6, 4, seed) for seed in range(5)])
    alone = [balance(matrix).matrix for matrix in batch]
    balance_batch(batch, rounds=200, tolerance=1e-12)
    np.testing.assert_allclose(batch, alone, rtol=1e-9)


def test_an_empty_row_of_a_batch_prefers_no_column() -> None:
    batch = positive(4, 4)[None].copy()
    batch[0, 1] = 0
    balance_batch(batch, rounds=200, tolerance=1e-12)
    np.testing.assert_allclose(batch[0].mean(axis=0), 1)
    np.testing.assert_allclose(batch[0].mean(axis=1), 1)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.array([[1.0, -1.0]]), np.array([[np.nan, 1.0]]), np.ones(3)])
def test_what_cannot_be_balanced_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="balanc"):
        balance(matrix)
