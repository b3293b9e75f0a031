from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.degeneracy.wired_networks import Recurrent, made
from weightatlas.degeneracy.rectified import RectifiedLayer, rectified_layers
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model


def reason(model: nn.Module, *shape: int) -> str:
    """Why the first layer is skipped."""
    return str(rectified_layers(model, torch.randn(2, *shape))[0].skipped)


class Through(nn.Module):
    """Two layers with anything between."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], inputs: int = 4) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(4, 6), nn.Linear(inputs, 2), between

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self.first(inputs)))  # type: ignore[no-any-return]


def hidden_use(values: torch.Tensor) -> torch.Tensor:
    """Rectify, and use the outputs where nothing of torch's sees it."""
    rectified = functional.relu(values)
    scale = float(np.abs(rectified.numpy()).sum())
    return rectified * scale


def written_view(values: torch.Tensor) -> torch.Tensor:
    rectified = functional.relu(values)
    rectified[:, 0] = 0
    return rectified


SKIPPED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int, str]] = {
    "a sum": (lambda y: functional.relu(y) + 1, 6, "a sum"),
    "two readers of the inputs": (lambda y: functional.relu(y) * y, 6, "a product"),
    "a layer norm": (lambda y: functional.layer_norm(functional.relu(y), (6,)), 6, "a layer norm"),
    "half of the units": (lambda y: functional.relu(y[:, :3]), 3, "as a whole"),
    "one half": (lambda y: torch.cat([functional.relu(y[:, :3]), y[:, 3:]], 1), 6, "before the nonlinearity"),
    "relu6": (functional.relu6, 6, "relu6"),
    "twice": (lambda y: functional.relu(functional.relu(y)), 6, "another nonlinearity"),
    "random": (lambda y: functional.dropout(functional.relu(y), 0.5), 6, "dropout"),
    "a written view": (written_view, 6, "assignment"),
    "a view written in place": (lambda y: functional.relu_(y[:, :]), 6, "assignment"),
    "a fold of units": (lambda y: functional.relu(y).reshape(-1, 2, 3).sum(1), 3, "sum"),
    "units as places": (lambda y: functional.relu(y)[..., None].reshape(-1, 3), 3, "other units of it"),
    "a power": (lambda y: functional.relu(y) ** 2, 6, "pow"),
    "a hidden use": (hidden_use, 6, "not seen"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_ends_a_claim(name: str) -> None:
    between, inputs, words = SKIPPED[name]
    assert words in reason(Through(between, inputs), 4)


def test_layers_that_are_read_elsewhere() -> None:
    assert reason(Recurrent(), 5) == "again.weight is used elsewhere too"
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    assert reason(model, 4) == "its weights are used elsewhere too"
    again = rectified_layers(Recurrent(), torch.randn(2, 5))[1]
    assert again.skipped == "it reads what it gives itself"
    assert "an output of the network" in reason(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), 4)
    assert reason(_by_batch(), 4).startswith("its inputs come from a batch norm (in 1)")


def _by_batch() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.ReLU(), nn.Linear(4, 2))


def test_nonlinearities_that_no_layer_feeds_say_what_does() -> None:
    model, inputs = made("residual")
    last = rectified_layers(model, inputs[:2])[-1]
    assert last.skipped == "its inputs come from a sum, not from the units of one layer"
    normed = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    assert "a layer norm (in 1)" in reason(normed, 4)
    computed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2))
    assert "weights that are computed as it runs" in reason(computed, 4)


def test_a_network_of_other_nonlinearities_is_named_and_one_without_any_is_empty() -> None:
    assert "gelu" in reason(nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), 4)
    assert rectified_layers(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), torch.zeros(2, 4)) == ()


def test_statistics_after_zero_padding_are_not_claimed() -> None:
    padded = (nn.Conv2d(2, 3, 1), nn.ZeroPad2d(1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    assert "a batch norm" in reason(nn.Sequential(*padded), 2, 3, 3)


def test_residual_networks_give_the_layers_inside_of_blocks() -> None:
    model = open_model("weightatlas:resnet20-cifar")
    found = rectified_layers(model, torch.randn(2, 3, 32, 32))
    claimed = [one for one in found if one.skipped is None]
    assert len(found) == 19
    assert len(claimed) == 9
    assert all(one.norm is not None and len(one.consumers) == 1 and one.note is None for one in claimed)
    assert [one.units for one in claimed] == [16] * 3 + [32] * 3 + [64] * 3
    assert sum(str(one.skipped).startswith("its inputs come from a sum") for one in found) == 9
    assert str(found[0].skipped).startswith("what it gives goes into a sum")


def test_the_model_stays_as_it_is() -> None:
    model, inputs = made("vgg")
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    rectified_layers(model, inputs[:2])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_columns_of_flattened_maps() -> None:
    model, inputs = made("channels last")
    (layer,) = rectified_layers(model, inputs[:2])
    (consumer,) = layer.consumers
    assert consumer.spread == 16
    assert consumer.columns_of(2).tolist() == list(range(2, 96, 6))
    model, inputs = made("vgg")
    consumer = rectified_layers(model, inputs[:2])[1].consumers[0]
    assert consumer.columns_of(1).tolist() == [4, 5, 6, 7]
    model, inputs = made("concatenating")
    readers = [one.consumers[0] for one in rectified_layers(model, inputs[:2])]
    assert [one.units.tolist() for one in readers] == [[0, 1, 2, -1, -1, -1, -1], [-1, -1, -1, 0, 1, 2, 3]]


def test_a_layer_that_is_called_twice_stands_once() -> None:
    model, inputs = made("shared")
    (layer,) = rectified_layers(model, inputs[:2])
    assert (layer.numbers, len(layer.consumers)) == ((0, 1), 1)


def test_bad_inputs() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(SourceError, match="does not run on the example"):
        rectified_layers(model, torch.zeros(2, 3))
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripted = torch.jit.script(model)
    with pytest.raises(SourceError, match="scripted"):
        rectified_layers(scripted, torch.zeros(2, 4))


def test_exported_graphs_are_followed_too() -> None:
    model, inputs = made("normed")
    graph = torch.export.export(model, (inputs,)).module()
    found: tuple[RectifiedLayer, ...] = rectified_layers(graph, inputs)
    assert [(one.weight, one.norm is not None, one.skipped) for one in found] == [("0.weight", True, None)]
