from __future__ import annotations

import numpy as np
import pytest

from weightatlas.banding import score, symmetries

TOP = np.array([2.0, 1.0, 1.0])


def weight_with(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    weight = np.random.default_rng(0).normal(size=(64, 40, 3, 3))
    shaped: np.ndarray = weight * rows[:, None] * columns[None, :]
    return shaped


@pytest.mark.parametrize(
    ("rows", "columns", "broken"),
    [
        (np.ones(3), np.ones(3), []),
        (TOP, np.ones(3), ["vertical flip"]),
        (TOP[::-1], np.ones(3), ["vertical flip"]),
        (np.ones(3), TOP, ["horizontal flip"]),
        (TOP, TOP, ["vertical flip", "horizontal flip"]),
    ],
)
def test_the_planted_symmetry_is_broken_and_no_other(rows: np.ndarray, columns: np.ndarray, broken: list[str]) -> None:
    tests = symmetries(weight_with(rows, columns))
    assert [test.symmetry for test in tests if test.broken] == broken


def test_turning_the_kernel_exchanges_the_flips() -> None:
    weight = weight_with(TOP, np.ones(3))
    vertical, horizontal, turn = symmetries(weight)
    turned_vertical, turned_horizontal, turned_turn = symmetries(weight.swapaxes(2, 3))
    assert turned_horizontal.score == pytest.approx(vertical.score)
    assert turned_vertical.score == pytest.approx(horizontal.score)
    assert turned_turn.score == pytest.approx(-turn.score)
    flipped_vertical, _, _ = symmetries(weight[:, :, ::-1])
    assert flipped_vertical.score == pytest.approx(-vertical.score)
    assert flipped_vertical.p_value == vertical.p_value


def test_the_vertical_imbalance_is_energy_above_less_below() -> None:
    weight = weight_with(TOP, np.ones(3))
    energy = (weight**2).sum(axis=(1, 3))
    expected = (energy[:, 0] - energy[:, 2]) / energy.sum(axis=1)
    np.testing.assert_allclose(symmetries(weight).tests[0].unit_scores, expected)


def test_the_quarter_turn_is_the_banding_score() -> None:
    weight = weight_with(TOP, np.ones(3))
    turn = symmetries(weight, seed=4).tests[2]
    found = score(weight, seed=4)
    np.testing.assert_allclose(turn.unit_scores, found.unit_scores)
    assert turn.null_std == pytest.approx(found.null_std)
    assert turn.p_value == pytest.approx(found.p_value)
