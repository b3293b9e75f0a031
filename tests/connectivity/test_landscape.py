from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.connectivity.trained_networks import batches, state_of, trained
from weightatlas.checkpoints import open_trajectory
from weightatlas.connectivity.landscape import Plane, plane
from weightatlas.evaluation.recalibration import recalibrate

if TYPE_CHECKING:
    from pathlib import Path

State = dict[str, torch.Tensor]

KIND = "convolutional"


def states(kind: str = KIND) -> tuple[State, State, State]:
    first, second, third = (state_of(trained(kind, "gelu", seed)) for seed in range(3))
    return first, second, third


def corners(offset: float = 0.0) -> tuple[State, State, State]:
    first, second, third = ({"weight": offset + corner} for corner in torch.eye(3, dtype=torch.float64))
    return first, second, third


def drawn(**options: Any) -> Plane:  # noqa: ANN401 - options are of several kinds
    return plane(trained(KIND, "gelu", 0), *states(), batches(KIND, 24, 16), **{"size": 3, **options})


def loss_of(state: dict[str, torch.Tensor]) -> float:
    """As anybody would write it down."""
    model = copy.deepcopy(trained(KIND, "gelu", 0)).eval()
    model.load_state_dict(state)
    parts = batches(KIND, 24, 16)
    with torch.no_grad():
        sums = [float(functional.cross_entropy(model(x), y, reduction="sum")) for x, y in parts]
    return sum(sums) / 40


def test_the_three_networks_have_their_own_losses() -> None:
    found = drawn(recalibrate=None)
    assert found.point_losses == pytest.approx([loss_of(state) for state in states()])
    assert (found.recalibrated, found.examples) == (None, 40)


def test_statistics_are_estimated_anew_at_every_point_unless_they_are_not_to_be() -> None:
    model = trained(KIND, "gelu", 0)
    again = batches(KIND, 24, 16)[:1]
    expected = [loss_of(recalibrate(model, state, again)) for state in states()]
    found = drawn(recalibration_batches=1)
    assert found.recalibrated == "batch-norm"
    assert found.point_losses == pytest.approx(expected)
    other = drawn(recalibration_data=batches(KIND, 40))
    assert other.point_losses != pytest.approx(expected, rel=1e-3)


def test_the_grid_goes_beyond_the_points_by_the_margin() -> None:
    found = drawn(size=5, margin=0.5, recalibrate=None)
    for axis, values in enumerate((found.xs, found.ys)):
        low, high = found.points[:, axis].min(), found.points[:, axis].max()
        assert values[0] == pytest.approx(low - (high - low) / 2)
        assert values[-1] == pytest.approx(high + (high - low) / 2)
        assert np.diff(values) == pytest.approx(np.diff(values)[0])
    assert found.losses.shape == (5, 5)


def test_a_corner_of_a_grid_without_margin_is_the_state_there() -> None:
    """Rows go along y: the last row's first loss is at the lowest x and the highest y."""
    found = drawn(size=2, margin=0.0, recalibrate=None)
    (length, _), (along, height) = found.points[1:]
    first, second, third = states()
    for row, y in enumerate((0.0, height)):
        for column, x in enumerate((min(0.0, along), max(length, along))):
            t = y / height
            s = (x - t * along) / length
            state = {
                name: tensor + s * (second[name] - tensor) + t * (third[name] - tensor)
                if tensor.is_floating_point()
                else tensor
                for name, tensor in first.items()
            }
            assert found.losses[row, column] == pytest.approx(loss_of(state)), (row, column)


def test_runs_are_seen_from_above(tmp_path: Path) -> None:
    a, b, c = states()
    middle = {name: tensor.lerp(b[name], 0.5) if tensor.is_floating_point() else tensor for name, tensor in a.items()}
    for step, state in enumerate((a, middle, b)):
        torch.save(state, tmp_path / f"step_{step}.pt")
    found = drawn(size=2, trajectories=(open_trajectory(tmp_path), [(7, c)]), recalibrate=None)
    run, single = found.trajectories
    assert run.steps.tolist() == [0, 1, 2]
    assert run.points == pytest.approx(np.array([[0, 0], found.points[1] / 2, found.points[1]]), abs=1e-9)
    assert run.off_plane == pytest.approx(0, abs=1e-5)
    assert single.points == pytest.approx(found.points[2:])


def test_the_network_is_left_as_it_was_and_the_same_call_gives_the_same() -> None:
    model = copy.deepcopy(trained(KIND, "gelu", 0)).train()
    before, generator = state_of(model), torch.get_rng_state()
    first, second = (plane(model, *states(), batches(KIND, 16), size=2) for _ in range(2))
    assert first.losses.tolist() == second.losses.tolist()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model)
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_network_without_such_statistics_is_not_recalibrated() -> None:
    found = plane(trained("perceptron", "gelu", 0), *states("perceptron"), batches("perceptron", 16), size=2)
    assert found.recalibrated is None


@pytest.mark.parametrize("option", [{"size": 1}, {"margin": -0.1}, {"margin": np.inf}, {"recalibrate": "repair"}])
def test_options_that_mean_nothing_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        drawn(**option)


def test_progress_is_told_point_by_point() -> None:
    told: list[tuple[int, int, str]] = []
    drawn(size=2, recalibrate=None, progress=lambda *what: told.append(what))
    assert [one[:2] for one in told] == [(number, 7) for number in range(1, 8)]
    assert told[4][2] == "(0, 0)"


class Logarithm(nn.Module):
    """Of the first of three parameters: not a number where that is negative."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.weight[0].log() + 0 * inputs.sum()


def test_where_the_loss_is_not_finite_there_is_no_figure_and_the_rest_stands() -> None:
    found = plane(Logarithm(), *corners(0.1), [(torch.ones(1, 1), torch.ones(1))], size=5, loss=lambda out, _: out)
    assert found.point_losses == pytest.approx(np.log([1.1, 0.1, 0.1]))
    assert 0 < np.isnan(found.losses).sum() < 25


class Bump(nn.Module):
    """A hill in the middle of the plane of three parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(self.weight - 1 / 3).square().sum()) + 0 * inputs.sum()


def test_a_hill_between_three_networks_is_seen_in_their_middle() -> None:
    found = plane(Bump(), *corners(), [(torch.ones(1, 1), torch.ones(1))], size=41, loss=lambda out, _: out)
    y, x = np.unravel_index(found.losses.argmax(), found.losses.shape)
    middle = found.points.mean(axis=0)
    assert abs(found.xs[x] - middle[0]) <= np.diff(found.xs)[0]
    assert abs(found.ys[y] - middle[1]) <= np.diff(found.ys)[0]
    assert found.losses.max() == pytest.approx(1, abs=0.01)
    assert found.point_losses == pytest.approx(np.exp(-2 / 3))
