from __future__ import annotations

import math

import torch
from torch import nn

from weightatlas.lab.experiments.degeneracy_following import follow


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


def test_a_long_step_along_free_directions_changes_nothing_and_any_other_does() -> None:
    inputs = seeded(100, 3) @ seeded(3, 6, seed=1)  # three of six inputs are free
    walk = follow(network(), [(inputs, inputs)])
    assert walk.layers == 1
    assert walk.along_free < 1e-9
    assert walk.along_random > 0.1


def test_dead_units_free_what_takes_them() -> None:
    model = network()
    with torch.no_grad():
        model.get_parameter("0.bias")[:3] = -100
    walk = follow(model, [(seeded(100, 6), seeded(100))])
    assert walk.layers >= 1  # units of the next layer may be dead of it too
    assert walk.along_free < 1e-9


def test_convolutions_are_followed_too() -> None:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten())
    images = seeded(40, 3, 6, 6)
    images[:, 2] = images[:, 0]
    walk = follow(model, [(images, images)])
    assert walk.layers == 1
    assert walk.along_free < 1e-9 < walk.along_random


def test_the_network_is_left_as_it_was() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = seeded(30, 2) @ seeded(2, 6, seed=1)
    assert follow(model, [(inputs, inputs)]) == follow(model, [(inputs, inputs)])
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_without_free_directions_there_is_nothing_to_follow() -> None:
    walk = follow(nn.Sequential(nn.Linear(6, 3)), [(seeded(100, 6), seeded(100))])
    assert walk.layers == 0
    assert math.isnan(walk.along_free)
