from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.connectivity.trained_networks import batches, state_of, trained
from weightatlas.checkpoints import open_trajectory
from weightatlas.connectivity.barrier import barrier
from weightatlas.connectivity.forking import fork_geometry, forked_pairs
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def states(count: int, *shape: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {name: torch.randn(shape, generator=generator) for name in ("conv.weight", "norm.running_mean")}
        for _ in range(count)
    ]


def test_lengths_and_angle_are_those_of_the_flat_vectors() -> None:
    three = [state_of(trained("convolutional", "gelu", seed)) for seed in range(3)]
    names = [name for name, _ in trained("convolutional", "gelu", 0).named_parameters()]
    base, a, b = (np.concatenate([state[name].numpy().ravel() for name in names]) for state in three)
    found = fork_geometry(*three)
    assert found.distance == pytest.approx(np.linalg.norm(a - b))
    assert (found.length_a, found.length_b) == pytest.approx((np.linalg.norm(a - base), np.linalg.norm(b - base)))
    assert found.cosine == pytest.approx((a - base) @ (b - base) / (found.length_a * found.length_b))
    assert found.angle == pytest.approx(math.acos(found.cosine))
    norms = [np.linalg.norm(part) for part in (a, b, base)]
    assert (found.norm_a, found.norm_b, found.norm_base) == pytest.approx(tuple(norms))
    assert found.parameters == len(base)


def test_random_directions_have_the_cosines_of_chance() -> None:
    found = [fork_geometry(*states(3, 50, seed=seed)) for seed in range(100)]
    assert found[0].chance_cosine == pytest.approx(50**-0.5)
    ways = [
        fork_geometry({"w": torch.zeros(50)}, *({"w": state["conv.weight"]} for state in states(2, 50, seed=seed)))
        for seed in range(100)
    ]
    assert np.std([one.cosine for one in ways]) == pytest.approx(50**-0.5, rel=0.2)
    assert np.mean([one.cosine for one in ways]) == pytest.approx(0, abs=4 * 50**-0.5 / 10)


def test_one_way_is_no_angle_opposite_ways_are_a_half_turn_and_none_has_no_angle() -> None:
    base, way = states(2, 6)
    there = {name: base[name] + way[name] for name in base}
    back = {name: base[name] - 2 * way[name] for name in base}
    assert fork_geometry(base, there, there).angle == pytest.approx(0, abs=1e-3)
    found = fork_geometry(base, there, back)
    assert found.angle == pytest.approx(math.pi, abs=1e-3)
    assert found.distance == pytest.approx(found.length_a + found.length_b)
    assert math.isnan(fork_geometry(base, base, there).angle)


def test_states_that_are_not_of_one_network_are_refused() -> None:
    base, a = states(2, 6)
    with pytest.raises(SourceError, match=r"the first state: it has no conv\.weight"):
        fork_geometry(base, {}, a)
    with pytest.raises(
        SourceError, match=r"the second state: conv\.weight is \[5\] where the one at the fork has \[6\]"
    ):
        fork_geometry(base, a, states(1, 5)[0])
    with pytest.raises(SourceError, match="it has no floating-point tensor"):
        fork_geometry({"count": torch.tensor(3)}, a, a)


def test_runs_are_compared_at_the_steps_that_both_have(tmp_path: Path) -> None:
    own, other = states(4, 6), states(4, 6, seed=1)
    other[1] = own[1]
    for name, run, steps in (("one", own, (0, 10, 20, 30)), ("two", other, (5, 10, 20, 30))):
        (tmp_path / name).mkdir()
        for step, state in zip(steps, run, strict=True):
            torch.save(state, tmp_path / name / f"step_{step}.pt")
    one, two = (open_trajectory(tmp_path / name) for name in ("one", "two"))
    told: list[tuple[int, int, str]] = []
    pairs = forked_pairs(one, two, progress=lambda *what: told.append(what))
    assert [pair.step for pair in pairs] == [20, 30]
    assert [pair.barrier for pair in pairs] == [None, None]
    assert told == [(1, 2, "step 20"), (2, 2, "step 30")]
    for place, pair in zip((2, 3), pairs, strict=True):
        assert pair.geometry == fork_geometry(own[1], own[place], other[place])
    with_base = forked_pairs(one, two, base=own[0])
    assert [pair.step for pair in with_base] == [10, 20, 30]
    assert with_base[0].geometry.distance == 0


def test_barriers_between_checkpoints_at_equal_times_are_those_of_barrier() -> None:
    model = trained("convolutional", "gelu", 0)
    base, a, b = (state_of(trained("convolutional", "gelu", seed)) for seed in (2, 0, 1))
    data = batches("convolutional", 24)
    (pair,) = forked_pairs([(0, base), (9, a)], [(0, base), (9, b)], model=model, data=data, points=3, recalibrate=None)
    expected = barrier(model, a, b, data, points=3, recalibrate=None)
    assert pair.barrier is not None
    assert pair.barrier.losses.tolist() == expected.losses.tolist()
    assert pair.barrier.loss_barrier.height == expected.loss_barrier.height


def test_runs_without_a_common_step_are_refused_and_so_is_half_of_what_barriers_need() -> None:
    base, a = states(2, 6)
    for one, other in (([(0, base)], [(1, a)]), ([(0, base)], [(0, a)]), ([], [])):
        with pytest.raises(SourceError, match="they have no step in common after the fork"):
            forked_pairs(one, other)
    with pytest.raises(ValueError, match="give both, or neither"):
        forked_pairs([(0, base), (1, a)], [(0, base), (1, a)], data=[])
