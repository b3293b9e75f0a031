from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from weightatlas.lab.experiments.degeneracy_long_step import long_step


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


def test_a_long_step_along_free_directions_changes_nothing_and_any_other_does() -> None:
    inputs = seeded(100, 3) @ seeded(3, 6, seed=1)  # three of six inputs are free
    step = long_step(network(), [(inputs, inputs)])
    assert step.layers == 1
    assert step.along_free < 1e-9
    assert step.along_random > 0.1


def test_dead_units_free_what_takes_them() -> None:
    model = network()
    with torch.no_grad():
        model.get_parameter("0.bias")[:3] = -100
    step = long_step(model, [(seeded(100, 6), seeded(100))])
    assert step.layers >= 1  # units of the next layer may be dead of it too
    assert step.along_free < 1e-9


def test_convolutions_are_followed_too() -> None:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten())
    images = seeded(40, 3, 6, 6)
    images[:, 2] = images[:, 0]
    step = long_step(model, [(images, images)])
    assert step.layers == 1
    assert step.along_free < 1e-9 < step.along_random


def test_the_network_is_left_as_it_was() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = seeded(30, 2) @ seeded(2, 6, seed=1)
    assert long_step(model, [(inputs, inputs)]) == long_step(model, [(inputs, inputs)])
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_without_free_directions_there_is_nothing_to_long_step() -> None:
    step = long_step(nn.Sequential(nn.Linear(6, 3)), [(seeded(100, 6), seeded(100))])
    assert step.layers == 0
    assert math.isnan(step.along_free)


LAYERS: list[nn.Module] = [
    nn.ConvTranspose1d(4, 4, 2),
    nn.Conv1d(4, 4, 2, groups=2),
    Conv1D(6, 5),  # type: ignore[no-untyped-call]
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_weights_are_written_as_each_layer_holds_them(layer: nn.Module) -> None:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten())
    inputs = seeded(60, 4, 5)
    inputs[:, 1] = inputs[:, 0]
    inputs[..., 1] = inputs[..., 0]
    step = long_step(model, [(inputs, inputs)])
    assert step.layers == 1
    assert step.along_free < 1e-9 < step.along_random
