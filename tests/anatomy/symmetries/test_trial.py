from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import Called
from weightatlas.anatomy.symmetries.layout import Factor
from weightatlas.anatomy.symmetries.trial import Trial, trials
from weightatlas.anatomy.symmetries.verification import TOLERANCE
from weightatlas.errors import SourceError


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3))


LAYOUTS = {
    "0.weight": (Factor(6, "P"), Factor(4)),
    "0.bias": (Factor(6, "P"),),
    **{f"1.{name}": (Factor(6, "P"),) for name in ("weight", "bias", "running_mean", "running_var")},
    "4.weight": (Factor(3), Factor(6, "P")),
}
ORDERS = {"P": np.array([3, 0, 5, 1, 2, 4])}


@pytest.mark.parametrize("forgotten", ["0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "4.weight"])
def test_a_forgotten_tensor_is_seen_even_before_training(forgotten: str) -> None:
    wrong = {name: axes for name, axes in LAYOUTS.items() if name != forgotten}
    several = list(trials(network(), torch.zeros(3, 4), draws=3, seed=0))
    assert len(several) == 3
    assert all(trial.change(LAYOUTS, ORDERS) < TOLERANCE for trial in several)
    assert max(trial.change(wrong, ORDERS) for trial in several) > 1e-3


def test_units_that_are_dead_on_the_example_are_not_in_later_draws() -> None:
    model = network()
    model.get_parameter("0.bias").data.fill_(-100.0)
    model.get_parameter("0.bias").data[0] = -99.0
    wrong = {name: axes for name, axes in LAYOUTS.items() if name != "0.weight"}
    changes = [trial.change(wrong, ORDERS) for trial in trials(model, torch.randn(3, 4), draws=3, seed=0)]
    assert changes[0] == 0
    assert max(changes[1:]) > 1e-3


def test_each_draw_has_numbers_of_its_own_and_the_first_those_of_the_network() -> None:
    model = network()
    example = torch.randn(3, 4)
    first, second, third = trials(model, example, draws=3, seed=0)
    assert torch.equal(first.state["0.weight"], model.state_dict()["0.weight"])
    assert torch.equal(first.inputs[0][0], example.double())
    for one, other in ((first, second), (second, third)):
        assert not torch.equal(one.state["0.weight"], other.state["0.weight"])
        assert not torch.equal(one.inputs[0][0], other.inputs[0][0])
    again = list(trials(model, example, draws=3, seed=0))[2]
    assert torch.equal(again.outputs[0], third.outputs[0])


def test_integers_are_given_as_they_are_and_tied_weights_stay_tied() -> None:
    embedding, head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    symbols = torch.tensor([[1, 4]])
    model = nn.Sequential(embedding, head)
    for trial in trials(model, symbols, draws=2, seed=0):
        assert torch.equal(trial.inputs[0][0], symbols)
        assert trial.state["0.weight"] is trial.state["1.weight"]


def test_numbers_that_a_network_refuses_are_left_out() -> None:
    def call(net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        if float(x[0, 0]) != 1:
            raise ArithmeticError
        return torch.as_tensor(net.a(x))

    example = torch.tensor([[1.0, -2.0]])
    assert len(list(trials(Called(call, a=nn.Linear(2, 2)), example, draws=4, seed=0))) == 1
    overflowing = Called(lambda net, x: net.a((x * 3400).exp()) ** 2, a=nn.Linear(2, 2))
    found = list(trials(overflowing, torch.tensor([[0.1, -0.2]]), draws=8, seed=0))
    assert 1 <= len(found) < 8
    assert all(bool(one.isfinite().all()) for trial in found for one in trial.outputs)


def test_the_model_its_mode_and_the_random_state_stay_as_they_were() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    for trial in trials(model, torch.zeros(3, 4), draws=2, seed=0):
        trial.change(LAYOUTS, ORDERS)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_a_model_casts_down_is_computed_in_float64_all_the_same() -> None:
    cast = Called(
        lambda self, x: self.a(x.to(torch.float32).half().float().to(dtype=torch.bfloat16)), a=nn.Linear(4, 2)
    )
    trial = Trial.of(cast, torch.full((1, 4), 1 / 3), seed=0)
    given = trial.inputs[0][0]
    assert torch.equal(trial.outputs[0], trial.model.a(given))  # type: ignore[operator]


def test_complex_outputs_count() -> None:
    trial = Trial.of(Called(lambda net, x: torch.fft.rfft(net.a(x)), a=nn.Linear(4, 6)), torch.randn(2, 4), seed=0)
    assert trial.outputs[0].shape == (2, 4, 2)
    layouts = {"a.weight": (Factor(6, "P"), Factor(4)), "a.bias": (Factor(6, "P"),)}
    assert trial.change(layouts, ORDERS) > 1e-3


def test_what_cannot_be_tried_says_what_to_do() -> None:
    with torch.device("meta"):
        empty = network()
    with pytest.raises(SourceError, match=r"shapes and no values.*; load weights, or give verify=False"):
        Trial.of(empty, torch.zeros(1, 4), seed=0)
    broken = network()
    broken.get_parameter("0.weight").data[0, 0] = float("nan")
    with pytest.raises(SourceError, match=r"not finite.*; give weights without NaN"):
        Trial.of(broken, torch.zeros(1, 4), seed=0)
    with pytest.raises(SourceError, match=r"does not run in float64 \(RuntimeError"):
        Trial.of(network(), torch.zeros(1, 5), seed=0)
    with pytest.raises(SourceError, match="gives no tensors that permutations could change"):
        Trial.of(Called(lambda _, __: None), torch.zeros(1, 5), seed=0)
