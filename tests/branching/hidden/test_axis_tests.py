from __future__ import annotations

import numpy as np
import pytest

from tests.reference import implicit as slow
from weightatlas.branching.hidden.axis_tests import Axes, axis_tests


def centred_axes(matrix: np.ndarray, count: int) -> Axes:
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rows, columns = matrix.shape
    return Axes(
        left[:, :count],
        values,
        right[:count].T,
        np.full((rows, 1), rows**-0.5),
        np.full((columns, 1), columns**-0.5),
    )


def doubly_centred(rows: int, columns: int, seed: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    matrix -= matrix.mean(axis=0)
    centred: np.ndarray = matrix - matrix.mean(axis=1, keepdims=True)
    return centred


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (194, 210), (220, 196)])
def test_the_null_is_that_of_explicit_projections(shape: tuple[int, int]) -> None:
    axes = centred_axes(doubly_centred(*shape, seed=0), 3)
    null = np.random.default_rng(1).normal(size=(20, *shape)).astype(np.float32)
    tests = axis_tests(axes, lambda count, *_: null[:count], tested=range(3), shuffles=20, seed=0)
    expected = np.array(
        [
            [
                slow.first_share(
                    matrix.astype(np.float64),
                    np.hstack([axes.known_left, axes.left[:, :axis]]),
                    np.hstack([axes.known_right, axes.right[:, :axis]]),
                )
                for axis in range(3)
            ]
            for matrix in null
        ]
    )
    np.testing.assert_allclose(tests.null_mean, expected.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(tests.null_std, expected.std(axis=0), rtol=1e-3)
    hits = (expected >= axes.remaining_shares).sum(axis=0)
    np.testing.assert_allclose(tests.p_values, np.maximum.accumulate((1 + hits) / 21))


def test_the_matrix_itself_is_a_hit() -> None:
    matrix = doubly_centred(5, 7, seed=2)
    itself = np.repeat(matrix[None].astype(np.float32), 9, axis=0)
    assert axis_tests(
        centred_axes(matrix, 1), lambda count, *_: itself[:count], tested=range(2), shuffles=9, seed=0
    ).p_values == [1.0]


def test_remaining_shares_are_of_what_axes_before_leave() -> None:
    matrix = np.diag([3.0, 2.0, 1.0])
    np.testing.assert_allclose(centred_axes(matrix, 3).remaining_shares, [9 / 14, 4 / 5, 1.0])


def test_axes_that_are_not_tested_have_no_figures_and_hold_nothing_back() -> None:
    matrix = np.diag([9.0, 8.0, 1.0, 1.0, 1.0, 1.0])
    axes = Axes(np.eye(6)[:, :3], np.array([9.0, 8, 1, 1, 1, 1]), np.eye(6)[:, :3], np.empty((6, 0)), np.empty((6, 0)))
    generator = np.random.default_rng(0)
    null = (matrix * np.array([2, 0.2, 1, 1, 1, 1]) + 0.3 * generator.normal(size=(19, 6, 6))).astype(np.float32)
    both, second = (
        axis_tests(axes, lambda count, *_: null[:count], tested=tested, shuffles=19, seed=0)
        for tested in ((0, 1), (1,))
    )
    np.testing.assert_array_equal(both.p_values, [1.0, 1.0, np.nan])
    np.testing.assert_array_equal(second.p_values, [np.nan, 0.05, np.nan])
    np.testing.assert_array_equal(np.isnan(second.null_mean), [True, False, True])


def test_each_axis_is_drawn_for() -> None:
    drawn = []

    def draw(count: int, _: np.random.Generator, axis: int) -> np.ndarray:
        drawn.append(axis)
        return np.ones((count, 5, 7), dtype=np.float32)

    axis_tests(centred_axes(doubly_centred(5, 7, seed=0), 3), draw, tested=(0, 2), shuffles=9, seed=0)
    assert drawn == [0, 2]


def test_a_matrix_of_zeros_has_no_finding() -> None:
    axes = centred_axes(np.zeros((3, 4)), 2)
    zeros = np.zeros((9, 3, 4), dtype=np.float32)
    assert axis_tests(axes, lambda count, *_: zeros[:count], tested=range(2), shuffles=9, seed=0).p_values.tolist() == [
        1.0,
        1.0,
    ]


def test_a_large_matrix_without_a_remainder_has_no_share() -> None:
    empty = np.zeros((3, 200, 200), dtype=np.float32)
    tests = axis_tests(
        centred_axes(doubly_centred(200, 200, seed=3), 1),
        lambda count, *_: empty[:count],
        tested=[0],
        shuffles=3,
        seed=0,
    )
    assert tests.null_mean == [0.0]
    assert tests.p_values == [0.25]
