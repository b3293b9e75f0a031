from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.connectivity.test_barrier import batches, states
from weightatlas.connectivity.layer_groups import layer_groups
from weightatlas.connectivity.scoring.heights import band_of_maximum
from weightatlas.connectivity.scoring.hybrids import Hybrids
from weightatlas.connectivity.scoring.layer_rises import LayerRises, Rise, interval_of_mean_height
from weightatlas.connectivity.scoring.scored_lines import Conditions, Scorer

ALPHAS = np.array([0.0, 0.5, 1.0])


def rise(*rows: list[float]) -> Rise:
    return Rise(ALPHAS, np.array(rows), np.array(rows) / 10)


def test_heights_are_above_the_chord_asked_for() -> None:
    one = rise([0.0, 2.0], [5.0, 3.0], [2.0, 4.0])
    assert one.height == 4 - (1 + 3) / 2
    assert one.error_height == pytest.approx(one.height / 10)
    assert one.height_above(1.0, 9.0) == 0.0
    assert one.height_above(1.0, 2.0) == 2.5


def test_the_mean_of_two_heights_has_the_interval_of_the_mean_rise_where_one_point_lies_between() -> None:
    rng = np.random.default_rng(0)
    flat = np.zeros(60)
    one, other = (Rise(ALPHAS, np.stack([flat, rng.normal(5, 1, 60), flat]), np.zeros((3, 60))) for _ in range(2))
    found = interval_of_mean_height(one, other, confidence=0.95, seed=0)
    both = (one.losses[1] + other.losses[1]) / 2
    alone = band_of_maximum(both[None], confidence=0.95, seed=0)
    assert found[0] < both.mean() < found[1]
    assert found[0] <= alone[0] + 0.05
    assert found[1] - found[0] < 2.5 * (alone[1] - alone[0])


def rises() -> tuple[LayerRises, list[tuple[str, ...]], tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    model, a, b = states()
    groups = list(layer_groups(model).values())
    scorer = Scorer(model, batches(6, 5), Conditions(recalibrate=None))
    return LayerRises(Hybrids(scorer, a, b, groups), (a, b), groups, ALPHAS, seed=0), groups, (a, b)


def test_random_directions_are_as_long_as_the_way_in_every_tensor_and_follow_from_the_seed() -> None:
    made, groups, (a, b) = rises()
    for name in groups[0]:
        way = b[name] - a[name]
        first, again, second = (made._random(name, way, number) for number in (0, 0, 1))
        assert float(first.norm()) == pytest.approx(float(way.norm()), rel=1e-6)
        assert torch.equal(first, again)
        assert not torch.equal(first, second)


def test_along_a_direction_the_height_is_the_mean_of_both_networks() -> None:
    made, groups, (a, b) = rises()
    name = groups[4][0]
    drawn = made._random(name, b[name] - a[name], 0).double()
    heights = []
    for base, sign, second in ((a, 1, False), (b, -1, True)):
        shift = {name: sign * drawn, **{other: sign * (b[other] - a[other]) for other in groups[4][1:]}}
        start = (1.0,) * 5 if second else (0.0,) * 5
        ends = [made._hybrids.score(start, start, 0), *made._hybrids.score_shifted(shift, [0.5, 1.0], second=second)]
        heights.append(Rise.of(ALPHAS, ends).height)
        assert base is (b if second else a)
    assert made.random_height([4], [name], 0) == pytest.approx(sum(heights) / 2)


def test_where_both_networks_are_equal_there_is_no_direction() -> None:
    model, a, _ = states()
    groups = list(layer_groups(model).values())
    scorer = Scorer(model, batches(6), Conditions(recalibrate=None))
    made = LayerRises(Hybrids(scorer, a, a, groups), (a, a), groups, ALPHAS, seed=0)
    assert made.random_height([0], groups[0], 0) == 0.0
