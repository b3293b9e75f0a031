from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import nn

from tests.degeneracy.wired_networks import NETWORKS, change, made, parameters_of
from weightatlas.degeneracy.block_directions import block_directions, movable_pairs
from weightatlas.degeneracy.rectified import RectifiedLayer, rectified_layers
from weightatlas.degeneracy.synchrony import synchrony

NONE = torch.zeros(4)


@torch.no_grad()
def synchronised(model: nn.Module, layer: RectifiedLayer) -> None:
    """Make unit 1 twice unit 0, norm included."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())

    def twice(name: str | None, factor: float = 2.0, axis: int = 0) -> None:
        if name is not None:
            tensors[name].select(axis, 1).copy_(tensors[name].select(axis, 0) * factor)

    twice(layer.weight, axis=layer.axis)
    twice(layer.bias)
    if layer.norm is not None:
        twice(layer.norm.mean)
        twice(layer.norm.bias)
        twice(layer.norm.weight, 1)
        twice(layer.norm.variance, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_direction_of_synchronised_units_leaves_the_outputs(name: str) -> None:
    model, inputs = made(name)
    layers = [one for one in rectified_layers(model, inputs[:2]) if one.skipped is None]
    assert layers
    for layer in layers:
        synchronised(model, layer)
    for found in synchrony(model, [(inputs, NONE)], rectified=layers):
        assert any({0, 1} <= set(block.tolist()) for block in found.blocks)
        parameters = parameters_of(model)
        directions = [
            one for block in found.blocks for one in block_directions(parameters, found.rectified, block, model)
        ]
        assert len(directions) == found.directions
        assert found.rescalings == found.rectified.units
        assert max(change(model, inputs, one) for one in islice(directions, 40)) < 1e-12


@pytest.mark.parametrize("name", ["mlp", "normed", "grouped", "transposed", "channels last", "residual"])
def test_a_direction_is_free_only_with_all_its_parts(name: str) -> None:
    model, inputs = made(name)
    layer = next(one for one in rectified_layers(model, inputs[:2]) if one.skipped is None)
    synchronised(model, layer)
    whole = next(one for one in synchrony(model, [(inputs, NONE)], rectified=[layer]) if one.excess)
    block = next(one for one in whole.blocks if len(one) > 1 and whole.firing[one[0]] > 0)
    for direction in block_directions(parameters_of(model), layer, block[:2], model):
        for part in direction:
            if direction[part].abs().max() > 0:
                rest = {key: value for key, value in direction.items() if key != part}
                assert change(model, inputs, rest) > 1e-6


def test_units_that_fire_apart_are_not_free_to_mix() -> None:
    model, inputs = made("mlp")
    found = synchrony(model, [(inputs, NONE)])[0]
    one, other = (int(block[0]) for block in found.blocks[:2])
    directions = list(block_directions(parameters_of(model), found.rectified, [one, other], model))
    assert [change(model, inputs, direction) < 1e-12 for direction in directions] == [True, False, False, True]


def test_scalings_are_free_whatever_the_data() -> None:
    for seed in range(3):
        model, inputs = made("vgg", seed)
        for layer in rectified_layers(model, inputs[:2]):
            for unit in range(layer.units):
                (direction,) = block_directions(parameters_of(model), layer, [unit], model)
                assert change(model, inputs, direction) < 1e-12


def test_max_pooling_lets_no_mixing_through_and_groups_none_between_them() -> None:
    model, inputs = made("vgg")
    pooled = rectified_layers(model, inputs[:2])[0]
    assert movable_pairs(parameters_of(model), pooled, range(4), model) == [(unit, unit) for unit in range(4)]
    assert "max pooling" in str(pooled.note)
    model, inputs = made("grouped")
    first, second, third = rectified_layers(model, inputs[:2])
    assert first.classes.tolist() == [0, 0, 0, 1, 1, 1]
    assert second.classes.tolist() == [0, 0, 1, 1]
    assert third.classes.tolist() == [0, 1, 2, 3]
    assert "groups" in str(first.note)


def test_units_that_their_norm_holds_at_a_constant() -> None:
    model, inputs = made("normed")
    norm = model.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.no_grad():
        norm.weight[:2] = 0
        norm.bias[:2] = torch.tensor([0.5, 2.0])
    (found,) = synchrony(model, [(inputs, NONE)])
    block = next(one.tolist() for one in found.blocks if 0 in one)
    pairs = movable_pairs(parameters_of(model), found.rectified, block, model)
    live = set(block) - {0, 1}
    assert {(0, 1), (1, 0), (0, 0)} <= set(pairs)
    assert not any((unit, other) in pairs for unit in (0, 1) for other in live)
    for direction in block_directions(parameters_of(model), found.rectified, block, model):
        assert change(model, inputs, direction) < 1e-12


def test_a_constant_that_no_parameter_moves_is_not_claimed() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4, affine=False), nn.ReLU(), nn.Linear(4, 2))
    (layer,) = rectified_layers(model, torch.randn(2, 3))
    assert movable_pairs(parameters_of(model), layer, range(4), model) == [(i, j) for i in range(4) for j in range(4)]
    norm = model[1]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    norm.running_mean += 1
    assert movable_pairs(parameters_of(model), layer, range(4), model) == []


def test_parameters_that_are_held_do_not_move() -> None:
    model, _ = made("mlp")
    layer = rectified_layers(model, torch.zeros(2, 6, dtype=torch.float64))[0]
    parameters = parameters_of(model)
    for name in ("0.weight", "2.weight"):
        rest = {key: value for key, value in parameters.items() if key != name}
        assert list(block_directions(rest, layer, [0], model)) == []
    skipped = rectified_layers(nn.Sequential(nn.Linear(2, 2), nn.GELU()), torch.zeros(2, 2))[0]
    assert list(block_directions(parameters, skipped, [0], model)) == []
