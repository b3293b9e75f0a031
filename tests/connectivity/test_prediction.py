from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.trained_networks import batches, state_of, trained
from weightatlas.connectivity.layer_groups import layer_groups
from weightatlas.connectivity.layerwise import layer_barriers
from weightatlas.connectivity.prediction import predicted_barriers
from weightatlas.errors import NotFiniteError, SourceError


class Quadratic(nn.Module):
    """The loss w^T A w / 2 over two weights of two numbers each."""

    def __init__(self) -> None:
        super().__init__()
        root = np.random.default_rng(0).standard_normal((4, 4))
        self.matrix = torch.from_numpy(root + root.T)
        self.first, self.second = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        weights = torch.cat([self.first, self.second])
        return weights @ self.matrix @ weights / 2 + 0 * inputs.sum()


NOTHING = [(torch.zeros(1, 1), torch.zeros(1))]


def states(*seeds: int) -> list[dict[str, torch.Tensor]]:
    return [
        dict(
            zip(("first", "second"), torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 2))), strict=True)
        )
        for seed in seeds
    ]


@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_a_parabola_is_predicted_exactly(alpha: float) -> None:
    model = Quadratic()
    a, b = states(1, 2)
    groups = {"first": ["first"], "second": ["second"], "all": ["first", "second"]}
    found = predicted_barriers(model, a, b, NOTHING, groups, alpha=alpha, loss=lambda out, _: out)
    apart = torch.cat([b["first"] - a["first"], b["second"] - a["second"]]).numpy()
    matrix = model.matrix.numpy()
    parts = {"first": apart * [1, 1, 0, 0], "second": apart * [0, 0, 1, 1], "all": apart}
    for name, way in parts.items():
        assert found[name] == pytest.approx(-alpha * (1 - alpha) / 2 * way @ matrix @ way)


def test_from_the_networks_alone_it_is_the_formula_with_both_ends_own_derivatives() -> None:
    model = Quadratic()
    a, b = states(1, 2)
    found = predicted_barriers(model, a, b, NOTHING, {"first": ["first"]}, ends="networks", loss=lambda out, _: out)
    matrix = model.matrix.numpy()
    one, other = (torch.cat([state["first"], state["second"]]).numpy() for state in (a, b))
    way = (other - one) * [1, 1, 0, 0]
    expected = ((one - other) @ matrix @ way) / 4 + way @ matrix @ way / 8
    assert found["first"] == pytest.approx(expected)
    whole = {"all": ["first", "second"]}
    by_lines, by_networks = (
        predicted_barriers(model, a, b, NOTHING, whole, ends=ends, loss=lambda out, _: out)
        for ends in ("lines", "networks")
    )
    assert by_networks == pytest.approx(by_lines), "a group of everything has but one line"


@pytest.mark.parametrize("kind", ["perceptron", "convolutional"])
def test_close_networks_have_the_layers_barriers_that_are_predicted(kind: str) -> None:
    model = trained(kind, "tanh", 0)
    first, second = (state_of(trained(kind, "tanh", seed)) for seed in (0, 1))
    near = {
        name: tensor.lerp(second[name], 0.003) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }
    data, groups = batches(kind, 48), layer_groups(model)
    predicted = predicted_barriers(model, first, near, data, groups)
    measured = layer_barriers(model, first, near, data, recalibrate=None, cumulative=False, directions=0)
    for one in measured:
        midpoints = [losses[1] - (losses[0] + losses[2]) / 2 for losses in (one.losses_in_a, one.losses_in_b)]
        assert predicted[one.layer] == pytest.approx(np.mean(midpoints), rel=0.02, abs=1e-12)


def test_what_both_networks_share_has_no_barrier_and_the_order_of_names_does_not_matter() -> None:
    model = trained("perceptron", "gelu", 0)
    a, b = state_of(model), state_of(trained("perceptron", "gelu", 1))
    b["2.weight"] = a["2.weight"].clone()
    groups = {"shared": ["2.weight"], "one": ["0.weight", "4.bias"], "turned": ["4.bias", "0.weight"]}
    found = predicted_barriers(model, a, b, batches("perceptron", 16), groups)
    assert found["shared"] == 0
    assert found["one"] == pytest.approx(found["turned"], rel=1e-12)
    back = predicted_barriers(model, b, a, batches("perceptron", 16), groups)
    assert found == pytest.approx(back, rel=1e-9), "at the midpoint both networks count alike"


def test_a_tied_weight_goes_by_any_of_its_names() -> None:
    first = nn.Linear(5, 5)
    last = nn.Linear(5, 5)
    last.weight = first.weight
    model = nn.Sequential(first, nn.Tanh(), last).double()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter("0.weight").mul_(2)
    groups = {"first": ["0.weight"], "last": ["2.weight"]}
    found = predicted_barriers(model, model.state_dict(), other.state_dict(), batches("perceptron", 16), groups)
    assert found["first"] == found["last"] != 0


def test_what_cannot_be_predicted_is_an_error() -> None:
    model = trained("perceptron", "gelu", 0)
    state, data = state_of(model), batches("perceptron", 8)
    with pytest.raises(ValueError, match="the model has no conv, head"):
        predicted_barriers(model, state, state, data, {"some": ["head", "0.weight", "conv"]})
    for option in ({"alpha": 1.5}, {"ends": "both"}):
        with pytest.raises(ValueError, match="ends must be one of lines, networks and alpha between 0 and 1"):
            predicted_barriers(model, state, state, data, {}, **option)
    with pytest.raises(SourceError, match=r"the second state: it has no 4\.bias"):
        predicted_barriers(model, state, {name: state[name] for name in state if name != "4.bias"}, data, {})
    spoilt = {name: tensor * torch.nan for name, tensor in state.items()}
    with pytest.raises(NotFiniteError, match="the loss or its derivative along the line"):
        predicted_barriers(model, spoilt, state, data, {"0": ["0.weight"]})
