from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.branching.pictures.position_vectors import LIGHT, position_vectors
from weightatlas.branching.pictures.visualization import visualize
from weightatlas.errors import SourceError

QUICK: dict[str, Any] = {"size": 12, "steps": 6, "noise": 4}


def network(second: nn.Module) -> Any:  # noqa: ANN401 - parts are looked at by their place
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), second)


def test_a_position_is_the_picture_of_its_direction_in_what_the_layer_reads() -> None:
    model = network(nn.Conv2d(4, 5, (2, 3)))
    found = position_vectors(model, "2", [4, 1], **QUICK)
    assert found.pictures.shape == (2, 2, 3, 12, 12, 3)
    vector = model[2].weight[1, :, 1, 2].detach()
    alone = visualize(model, "1", vector, objective="direction", **QUICK)
    assert np.abs(found.pictures[1, 1, 2].astype(int) - alone.images[0]).max() <= 2
    assert found.excess[1, 1, 2] == pytest.approx(alone.excess[0], rel=0.01)


def test_pictures_fade_to_light_grey_with_the_length_of_the_vector() -> None:
    model = network(nn.Conv2d(4, 2, 2))
    weight = model[2].weight.data
    weight[0, :, 0, 0] = torch.tensor([3.0, 0, 0, 4])
    weight[0, :, 0, 1] = torch.tensor([0, 2.5, 0, 0])
    weight[0, :, 1] = 0
    found = position_vectors(model, "2", [0], **QUICK)
    assert found.norms[0].tolist() == [[1.0, 0.5], [0.0, 0.0]]
    np.testing.assert_array_equal(found.images[0, 0, 0], found.pictures[0, 0, 0])
    half = 0.5 * found.pictures[0, 0, 1] + 0.5 * LIGHT
    assert np.abs(found.images[0, 0, 1] - half).max() <= 0.5
    assert (found.images[0, 1] == round(LIGHT)).all()
    assert np.isnan(found.excess[0, 1]).all()


def test_a_unit_without_weights_is_grey() -> None:
    model = network(nn.Conv2d(4, 2, 3))
    nn.init.zeros_(model[2].weight)
    found = position_vectors(model, "2", [1], **QUICK)
    assert (found.images == round(LIGHT)).all()
    assert (found.norms == 0).all()


@pytest.mark.parametrize(
    ("second", "unit", "expected"),
    [
        (nn.Conv2d(4, 6, 1, groups=2), 4, [0, 0, 1, 1]),
        (nn.Conv2d(4, 4, 1, groups=4), 2, [0, 0, 1, 0]),
        (nn.ConvTranspose2d(4, 6, 1, groups=2), 1, [1, 1, 0, 0]),
    ],
)
def test_a_group_reads_its_own_channels(second: nn.Module, unit: int, expected: list[int]) -> None:
    model = network(second)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.fill_(1)
    found = position_vectors(model, "2", [unit], **QUICK)
    alone = visualize(model, "1", [expected], objective="direction", **QUICK)
    assert np.abs(found.pictures[0, 0, 0].astype(int) - alone.images[0]).max() <= 2


def test_a_linear_layer_has_one_position() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    assert position_vectors(model, "3", [2], **QUICK).images.shape == (1, 1, 1, 12, 12, 3)


def test_weights_from_elsewhere_are_over_the_units_of_the_layer() -> None:
    model = network(nn.ReLU())
    weight = np.random.default_rng(0).normal(size=(7, 4, 1, 2))
    found = position_vectors(model, "0", [6], weight=weight, **QUICK)
    alone = visualize(model, "0", weight[6, :, 0, 1], objective="direction", **QUICK)
    assert np.abs(found.pictures[0, 0, 1].astype(int) - alone.images[0]).max() <= 2


def test_what_has_no_kernels_is_refused() -> None:
    model = network(nn.BatchNorm2d(4))
    with pytest.raises(SourceError, match="a BatchNorm2d has no kernels"):
        position_vectors(model, "2", [0])
    with pytest.raises(SourceError, match="no such layer"):
        position_vectors(model, "9", [0])
    with pytest.raises(ValueError, match="there is no unit 4"):
        position_vectors(model, "0", [4])
    with pytest.raises(ValueError, match="finite"):
        position_vectors(model, "0", [0], weight=np.full((2, 4, 1, 1), np.nan))
    with pytest.raises(ValueError, match=r"\(rows, channels, kh, kw\)"):
        position_vectors(model, "0", [0], weight=np.ones((2, 4)))
