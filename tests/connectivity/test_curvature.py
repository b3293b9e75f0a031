from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.trained_networks import SMOOTH, batches, convolutional, state_of, trained
from weightatlas.connectivity.curvature import PathCurvature, path_curvature
from weightatlas.errors import NotFiniteError, SourceError

if TYPE_CHECKING:
    from typing import Any

HOLDS = 1e-4
"""That the identity is to hold to, relative to the largest barrier on the line."""


def between(kind: str, activation: str, **options: Any) -> PathCurvature:  # noqa: ANN401 - of several kinds
    first, second = (trained(kind, activation, seed) for seed in (0, 1))
    sizes = options.pop("sizes", (48, 48))
    return path_curvature(first, state_of(first), state_of(second), batches(kind, *sizes), **options)


@pytest.mark.parametrize("activation", SMOOTH)
def test_between_trained_smooth_networks_the_barrier_is_curvature_that_is_seen(activation: str) -> None:
    found = between("perceptron", activation)
    assert found.scale > 0.1, "there is something to be explained"
    assert np.abs(found.in_kinks).max() < HOLDS * found.scale
    assert found.slope_gap < HOLDS * found.scale
    assert (found.barrier[[0, -1]] == 0).all()


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_of_a_convolutional_network_too_whatever_its_norms_go_by(statistics: str) -> None:
    found = between("convolutional", "gelu", alphas=[0.25, 0.5, 0.75], nodes=257, sizes=(24, 24), statistics=statistics)
    assert found.scale > 0.05
    assert np.abs(found.in_kinks).max() < HOLDS * found.scale
    assert found.slope_gap < HOLDS * found.scale


def test_running_estimates_that_stay_behind_break_the_identity() -> None:
    """What the derivatives would leave out if buffers were no part of the direction."""
    first, second = (trained("convolutional", "gelu", seed) for seed in (0, 1))
    whole = between("convolutional", "gelu", alphas=[0.5], nodes=9)
    kept = state_of(second) | {name: tensor for name, tensor in state_of(first).items() if "running" in name}
    held = path_curvature(first, state_of(first), kept, batches("convolutional", 48, 48), alphas=[0.5], nodes=9)
    assert held.length < whole.length
    assert abs(held.slopes[0] - whole.slopes[0]) > HOLDS * abs(whole.slopes[0])


def test_with_relu_slopes_give_the_barrier_and_curvature_alone_does_not() -> None:
    found = between("perceptron", "relu", nodes=641, sizes=(24, 24))
    assert found.slope_gap < 4 * found.slope_error, "halving tells how far the integral is off"
    assert found.slope_gap < 0.01 * found.scale
    assert np.abs(found.in_kinks).max() > 0.2 * found.scale
    assert found.curvature_error < 0.05 * found.scale


def test_max_pooling_has_kinks_where_mean_pooling_has_none() -> None:
    def states(pool: type[nn.Module]) -> tuple[nn.Module, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            networks = [convolutional(nn.Tanh, pool).double().eval() for _ in range(2)]
        return networks[0], networks[0].state_dict(), networks[1].state_dict()

    for pool, kinks in ((nn.MaxPool2d, True), (nn.AvgPool2d, False)):
        model, a, b = states(pool)
        found = path_curvature(model, a, b, batches("convolutional", 48), alphas=[0.5], nodes=65)
        assert bool(np.abs(found.in_kinks).max() > 0.1 * found.scale) is kinks
        assert found.slope_gap < 0.02 * found.scale


class Kinked(nn.Module):
    """The loss |w|."""

    def __init__(self, at: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([at], dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.weight.abs() + 0 * inputs.sum()


def itself(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return output.sum()


def test_all_of_a_kink_is_in_the_kink() -> None:
    a, b = ({"weight": torch.tensor([at], dtype=torch.float64)} for at in (-1.0, 3.0))
    nothing = [(torch.zeros(1, 1), torch.zeros(1))]
    found = path_curvature(Kinked(), a, b, nothing, alphas=[0.1, 0.25, 0.5], loss=itself)
    assert found.barrier == pytest.approx([-0.6, -1.5, -1.0])
    assert found.seen == pytest.approx(0)
    assert found.in_kinks == pytest.approx(found.barrier)
    assert found.length == 4


def test_the_other_way_round_is_the_same_the_other_way_round() -> None:
    first, second = (trained("perceptron", "tanh", seed) for seed in (0, 1))
    data = batches("perceptron", 32)
    there, back = (
        path_curvature(first, state_of(a), state_of(b), data, alphas=[0.25, 0.5, 0.75], nodes=33)
        for a, b in ((first, second), (second, first))
    )
    for name in ("barrier", "from_slopes", "seen", "from_ends", "losses", "curvatures"):
        assert getattr(there, name) == pytest.approx(getattr(back, name)[::-1], rel=1e-9)


def test_the_closer_the_ends_the_better_they_alone_tell_the_barrier() -> None:
    """Half the distance leaves an eighth of the error, a sixteenth at the midpoint, where the third order cancels."""
    first, second = (state_of(trained("perceptron", "tanh", seed)) for seed in (0, 1))
    model, data = trained("perceptron", "tanh", 0), batches("perceptron", 48)
    errors = []
    for share in (0.004, 0.002):
        near = {name: tensor.lerp(second[name], share) for name, tensor in first.items()}
        found = path_curvature(model, first, near, data, alphas=[0.3, 0.5], nodes=13)
        assert found.from_ends == pytest.approx(found.barrier, rel=10 * share)
        errors.append(found.from_ends - found.barrier)
    assert errors[0] / errors[1] == pytest.approx([8, 16], rel=0.2)


def test_a_network_and_itself_have_nothing_between_them() -> None:
    model = trained("convolutional", "gelu", 0)
    found = path_curvature(model, state_of(model), state_of(model), batches("convolutional", 16))
    for figures in (found.barrier, found.from_slopes, found.seen, found.from_ends, found.slopes):
        assert (figures == 0).all()
    assert found.length == 0
    assert len(found.positions) == 41, "the coarsest steps are fine enough"


def test_nodes_are_spent_until_the_tolerance_is_met() -> None:
    rough, fine = (
        between("perceptron", "tanh", alphas=[0.5], nodes=1025, tolerance=tolerance) for tolerance in (0.5, 1e-3)
    )
    assert len(rough.positions) < len(fine.positions)
    assert set(rough.positions) < set(fine.positions)
    assert fine.curvature_error < 1e-3 * fine.scale


def test_the_same_call_gives_the_same_figures_and_examples_are_the_first_ones() -> None:
    first, second = (between("perceptron", "relu", alphas=[0.5], nodes=9) for _ in range(2))
    assert first.curvatures.tolist() == second.curvatures.tolist()
    some = between("perceptron", "relu", alphas=[0.5], nodes=9, examples=32)
    assert some.examples == 32
    assert some.losses == pytest.approx(
        between("perceptron", "relu", alphas=[0.5], nodes=9, sizes=(32, 64), examples=32).losses
    )


def test_what_cannot_be_integrated_is_an_error() -> None:
    model = trained("perceptron", "gelu", 0)
    state, data = state_of(model), batches("perceptron", 8)
    with pytest.raises(ValueError, match="nodes must be 41 at least"):
        path_curvature(model, state, state, data, nodes=40)
    with pytest.raises(ValueError, match="alphas must be one or more numbers from 0 to 1"):
        path_curvature(model, state, state, data, alphas=[2])
    wide = state | {"0.weight": torch.zeros(3, 5, dtype=torch.float64)}
    with pytest.raises(SourceError, match=r"the second state: 0\.weight is \[3, 5\] where the model has \[16, 5\]"):
        path_curvature(model, state, wide, data)
    with pytest.raises(NotFiniteError, match="along the line is not finite"):
        path_curvature(model, state, {name: tensor * torch.inf for name, tensor in state.items()}, data)
    with pytest.raises(ValueError, match="there is no example"):
        path_curvature(model, state, state, [])
