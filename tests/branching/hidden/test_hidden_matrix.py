from __future__ import annotations

import numpy as np
import pytest

from tests.reference import implicit as slow
from weightatlas.branching.hidden.hidden_matrix import METHODS, NULLS, Method, Null, decompose

MATRIX = np.random.default_rng(0).lognormal(size=(7, 5))


def rebuilt(method: Method, matrix: np.ndarray = MATRIX) -> np.ndarray:
    axes = decompose(matrix, method=method, null="signs", count=99).axes
    whole: np.ndarray = axes.left * axes.values[: axes.left.shape[1]] @ axes.right.T
    return whole


def test_balanced_is_what_dividing_in_turn_leaves_less_one() -> None:
    np.testing.assert_allclose(rebuilt("balanced"), slow.balanced(MATRIX) - 1, atol=1e-9)


def test_correspondence_is_that_of_the_definition() -> None:
    residual = slow.correspondence(MATRIX)
    found = rebuilt("correspondence")
    np.testing.assert_allclose(found / np.linalg.norm(found), residual / np.linalg.norm(residual), atol=1e-9)


def test_centred_and_raw_are_the_matrix_but_for_a_factor() -> None:
    centred = MATRIX - MATRIX.mean(axis=1, keepdims=True)
    for method, expected in (("centred", centred), ("raw", MATRIX)):
        found = rebuilt(method)  # type: ignore[arg-type]
        np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_known_is_no_axis(method: Method) -> None:
    axes = decompose(MATRIX, method=method, null="signs", count=99).axes
    np.testing.assert_allclose(axes.known_left.T @ axes.left, 0, atol=1e-9)
    np.testing.assert_allclose(axes.known_right.T @ axes.right, 0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("null", NULLS)
def test_the_null_has_the_shape_and_the_seed_decides(method: Method, null: Null) -> None:
    draw = decompose(MATRIX, method=method, null=null, count=2).draw
    first, again, other = (draw(3, np.random.default_rng(seed), 0) for seed in (0, 0, 1))
    assert first.shape == (3, 7, 5)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_random_signs_keep_every_element_but_its_sign() -> None:
    for method in ("balanced", "correspondence"):
        drawn = decompose(MATRIX, method=method, null="signs", count=2).draw(500, np.random.default_rng(0), 0)
        np.testing.assert_allclose(np.abs(drawn), np.abs(drawn[:1]).repeat(500, axis=0))
        assert np.abs(np.sign(drawn).mean(axis=0)).max() < 4.5 / np.sqrt(500)


def test_shuffling_keeps_the_elements_of_the_balanced_matrix() -> None:
    drawn = decompose(MATRIX, method="raw", null="shuffled", count=2).draw(4, np.random.default_rng(0), 0)
    balanced = decompose(MATRIX, method="raw", null="shuffled", count=2).balanced
    sizes = np.outer(
        balanced.row_scales / balanced.row_scales.mean(), balanced.column_scales / balanced.column_scales.mean()
    )
    for matrix in drawn:
        np.testing.assert_allclose(np.sort(np.ravel(matrix / sizes)), np.sort(np.ravel(balanced.matrix)), rtol=1e-4)


def test_signs_are_drawn_on_what_the_axes_before_leave() -> None:
    found = decompose(MATRIX, method="balanced", null="signs", count=2)
    axes = found.axes
    left = slow.balanced(MATRIX) - 1 - axes.values[0] * np.outer(axes.left[:, 0], axes.right[:, 0])
    drawn = found.draw(1, np.random.default_rng(0), 1)[0]
    np.testing.assert_allclose(np.abs(drawn), np.abs(left), atol=1e-6)


def test_only_axes_whose_test_holds_its_level_are_tested() -> None:
    tested = {
        (method, null): decompose(MATRIX, method=method, null=null, count=3).tested
        for method in METHODS
        for null in NULLS
    }
    assert tested.pop(("balanced", "signs")) == (0, 1, 2)
    assert tested.pop(("correspondence", "signs")) == ()
    assert {method: axes for (method, _), axes in tested.items()} == {
        "balanced": (0,),
        "correspondence": (0,),
        "centred": (0,),
        "raw": (1,),
    }


def test_one_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="two connected units on either side; here are 1 and 5"):
        decompose(MATRIX[:1], method="balanced", null="signs", count=1)
