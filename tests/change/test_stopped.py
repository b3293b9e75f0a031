from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.change.planted_curves import schedule
from weightatlas.change.stopped import stopped

if TYPE_CHECKING:
    import numpy.typing as npt

STEPS = range(0, 2500, 100)


def moving(layers: int = 20, seed: int = 0) -> npt.NDArray[np.float64]:
    """Layers that differ by a factor of about 2 and share a cosine schedule that ends at 1/50."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 0.4, (layers, 1)) + generator.normal(0, 0.1, (layers, 25))
    return np.asarray(1e-3 * schedule() * np.exp(noise))


@pytest.mark.parametrize("seed", range(5))
def test_a_cosine_schedule_stops_no_layer(seed: int) -> None:
    found = stopped(moving(seed=seed), STEPS)
    assert found.stopped_at == (None,) * 20
    assert found.layers == ()


def test_undivided_a_fall_of_the_learning_rate_stops_all() -> None:
    curves = np.asarray(moving() / schedule())
    curves[:, 18:] /= 100
    found = stopped(curves, STEPS)
    assert found.stopped_at == (None,) * 20
    assert found.stopped_at_undivided == (1800,) * 20


@pytest.mark.parametrize("left", [0.0, 1e-9, 1e-5])
@pytest.mark.parametrize("frozen", [1, 5, 13])
def test_frozen_layers_are_found_however_many_there_are(left: float, frozen: int) -> None:
    curves = moving()
    curves[:frozen, 12:] *= left
    found = stopped(curves, STEPS, names=[f"block{index}" for index in range(20)])
    assert found.stopped_at == (1200,) * frozen + (None,) * (20 - frozen)
    assert found.layers == tuple(f"block{index}" for index in range(frozen))


def test_layers_frozen_exactly_may_be_all_but_one() -> None:
    curves = moving()
    curves[:19, 15:] = 0
    assert stopped(curves, STEPS).stopped_at == (1500,) * 19 + (None,)


def test_layers_that_freeze_one_after_another_are_found_each_at_its_step() -> None:
    curves = moving()
    for layer in range(14):
        curves[layer, layer + 5 :] *= 1e-4
    assert stopped(curves, STEPS).stopped_at == tuple(100 * (layer + 5) for layer in range(14)) + (None,) * 6


def test_one_layer_that_races_stops_no_other() -> None:
    curves = moving()
    curves[3, 10:] *= 1e4
    assert stopped(curves, STEPS).layers == ()


def test_a_layer_that_moves_again_has_not_stopped() -> None:
    curves = moving()
    curves[2, 5:15] = 0
    curves[4, 5:15] = 0
    curves[4, 18:] = 0
    found = stopped(curves, STEPS)
    assert (found.stopped_at[2], found.stopped_at[4]) == (None, 1800)


def test_a_stretch_counts_from_five_records_on() -> None:
    curves = moving()
    curves[0, -4:] = 0
    curves[1, -5:] = 0
    found = stopped(curves, STEPS)
    assert found.stopped_at[:2] == (None, 2000)
    assert stopped(curves, STEPS, records=4).stopped_at[:2] == (2100, 2000)


def test_a_layer_that_never_moved_stopped_at_the_first_step() -> None:
    curves = moving()
    curves[7] = 0
    assert stopped(curves, STEPS).stopped_at[7] == 0


def test_records_that_are_not_known_are_left_out() -> None:
    curves = moving()
    curves[0, 10:] = 0
    curves[0, [3, 12, 20]] = math.nan
    curves[1] = math.nan
    curves[2, 8:] = math.inf
    curves[:, 16] = math.nan
    curves[:, 17] = 0
    found = stopped(curves, STEPS)
    assert found.stopped_at[:3] == (1000, None, None)
    assert np.isnan(found.reference[[16, 17]]).all()
    assert np.isnan(found.relative[:, [16, 17]]).all()


def test_nothing_is_said_where_nothing_moves() -> None:
    found = stopped(np.zeros((3, 8)), range(8))
    assert found.stopped_at == found.stopped_at_undivided == (None,) * 3


def test_the_ratios_are_those_of_a_plain_median_where_all_layers_move() -> None:
    curves = moving()
    found = stopped(curves, STEPS)
    reference = np.median(curves, axis=0)
    np.testing.assert_allclose(found.reference, reference)
    np.testing.assert_allclose(found.relative, curves / reference)
    np.testing.assert_allclose(found.undivided, curves / np.median(reference))


@pytest.mark.parametrize(
    ("curves", "options", "problem"),
    [
        ([1.0, 2.0], {}, "curves are layers x records"),
        ([[1.0, 2.0, 3.0]], {}, "2 steps"),
        ([[1.0, -2.0]], {}, "some are negative"),
        ([[1.0, 2.0]], {"below": 1.0}, "below must lie between 0 and 1"),
        ([[1.0, 2.0]], {"records": 0}, "records must be 1 or more"),
        ([[1.0, 2.0]], {"names": ["a", "b"]}, "2 names for 1 layers"),
    ],
)
def test_refuses_what_does_not_fit(curves: Any, options: dict[str, Any], problem: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=problem):
        stopped(curves, [0, 1], **options)
