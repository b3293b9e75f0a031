from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.degeneracy.relu_networks import batches, inputs_of
from tests.reference.jacobian import jacobian
from weightatlas.degeneracy.ranking import own_ranks as module
from weightatlas.degeneracy.ranking.own_ranks import own_ranks
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.evaluation.held_batches import HeldBatches


def networks() -> dict[str, nn.Sequential]:
    torch.manual_seed(0)
    return {
        "bound": nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.LogSoftmax(1)),
        "free": nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)),
        "narrow": nn.Sequential(nn.Linear(6, 1, bias=False), nn.Linear(1, 30, bias=False)),
    }


@pytest.mark.parametrize(("name", "each"), [("bound", 3), ("free", 4), ("narrow", 30)])
def test_ranks_are_those_of_the_slow_jacobian_of_each_example(name: str, each: int) -> None:
    model, inputs = networks()[name], inputs_of(0, 23)
    found = own_ranks(ParameterMap(model), HeldBatches(batches(inputs, 10)), 4 if each < 30 else 30, **all_of_them())
    slow = [int(torch.linalg.matrix_rank(jacobian(model, one[None]), rtol=1e-9)) for one in inputs]
    assert found == sum(slow) == 23 * each


def all_of_them() -> dict[str, float]:
    return {"enough": float("inf"), "tolerance": 1e-9}


def test_an_example_without_gradients_has_rank_0_and_more_outputs_than_weights_are_no_harm() -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 9, bias=False))
    nn.Module.requires_grad_(model[2], requires_grad=False)
    nn.init.ones_(model[0].weight)  # type: ignore[arg-type]
    inputs = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [2.0, 0.0]])
    assert own_ranks(ParameterMap(model), HeldBatches(batches(inputs)), 9, **all_of_them()) == 2


def test_no_example_is_looked_at_beyond_what_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    network, held = ParameterMap(networks()["free"]), HeldBatches(batches(inputs_of(0, 40), 40))
    monkeypatch.setattr(module, "NUMBERS", 4 * network.size)
    assert own_ranks(network, held, 4, enough=9.0, tolerance=1e-9) == 12
    monkeypatch.setattr(module, "NUMBERS", network.size // 3)
    assert own_ranks(network, held, 4, enough=9.0, tolerance=1e-9) is None
