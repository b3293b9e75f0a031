from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from weightatlas.branching.pictures.objectives import LEAK, Aims, Objective, aims_at, checked_units

MAPS = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))


def aims(units: Any, objective: Objective = "channel") -> Aims:  # noqa: ANN401
    return aims_at(units, objective=objective, available=4, layer="conv")


def test_a_channel_is_the_mean_of_its_positions_those_below_zero_counting_little() -> None:
    wanted = aims([2, 0, 2])
    found = wanted.activations(wanted.responses(MAPS))
    for image, unit in enumerate([2, 0, 2]):
        values = MAPS[image, unit].flatten().tolist()
        expected = sum(value if value > 0 else LEAK * value for value in values) / len(values)
        assert float(found[image]) == pytest.approx(expected, abs=1e-6)


def test_a_neuron_is_the_unit_at_the_centre() -> None:
    wanted = aims([1, 3, 0], "neuron")
    expected = [MAPS[image, unit, 1, 2] for image, unit in enumerate([1, 3, 0])]
    assert torch.equal(wanted.activations(wanted.responses(MAPS)), torch.stack(expected))


@pytest.mark.parametrize("layer", [MAPS, MAPS.flatten(2), MAPS[:, :, 0, 0]])
def test_a_direction_is_the_mean_projection_whatever_its_length(layer: torch.Tensor) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 4))
    wanted = aims(7 * vectors, "direction")
    means = layer.reshape(3, 4, -1).mean(2).double().numpy()
    expected = (means * vectors).sum(1) / np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(wanted.activations(wanted.responses(layer)).numpy(), expected, atol=1e-6)


def test_the_axis_of_a_unit_as_a_direction_is_its_plain_mean() -> None:
    wanted = aims(torch.eye(4)[[1, 2, 3]], "direction")
    expected = torch.stack([MAPS[image, image + 1].mean() for image in range(3)])
    assert torch.allclose(wanted.activations(wanted.responses(MAPS)), expected, atol=1e-6)


def test_levels_are_what_rises_above_the_baseline() -> None:
    wanted = aims([0, 1])
    responses = torch.tensor([[1.0, 3.0, -2.0, 0.0], [5.0, 5.0, 5.0, 9.0]])
    assert wanted.levels(responses, torch.tensor([1.0, 5.0])).tolist() == [0.5, 1.0]


def test_a_part_has_its_own_units_and_keys() -> None:
    wanted = aims([3, 1, 2, 0])
    part = wanted.part(1, 3)
    assert len(part) == 2
    assert part.units.tolist() == [1, 2]
    assert part.keys == wanted.keys[1:3]


def test_equal_directions_have_equal_keys_and_others_have_others() -> None:
    first, again, other = aims([[1.0, 0, 0, 0], [2.0, 0, 0, 0], [0, 1.0, 0, 0]], "direction").keys
    assert first == again != other


@pytest.mark.parametrize(
    ("units", "objective", "message"),
    [
        ([4], "channel", "conv has units 0 to 3; there is no unit 4"),
        ([-1], "neuron", "there is no unit -1"),
        ([0.5], "channel", "whole numbers"),
        ([[0, 1]], "channel", "whole numbers in a list"),
        ([], "channel", "name one unit or more of conv"),
        ([0], "unit", "objective must be one of channel, neuron, direction"),
        ([[1.0, 2.0]], "direction", "has 4 numbers"),
        ([[0.0] * 4], "direction", "not zero"),
        ([[np.nan] * 4], "direction", "finite"),
    ],
)
def test_what_cannot_be_aimed_at_is_refused(units: Any, objective: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=message):
        aims(units, objective)


def test_one_unit_needs_no_list() -> None:
    assert checked_units(2, 4, "conv").tolist() == [2]
