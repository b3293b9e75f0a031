from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.branching.pictures.receptive_field import ReceptiveField, receptive_field
from weightatlas.branching.pictures.tap import trunk


def of(*layers: nn.Module, size: tuple[int, int] = (24, 20)) -> ReceptiveField:
    torch.manual_seed(0)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    model = nn.Sequential(*layers)
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))
    with trunk(model, str(len(layers) - 1)) as run:
        return receptive_field(run, images)


def test_a_convolution_sees_its_kernel() -> None:
    field = of(nn.Conv2d(3, 4, (5, 3)))
    assert field.size == (5, 3)
    assert field.tops.tolist() == list(range(20))
    assert field.lefts.tolist() == list(range(18))


def test_layers_add_up_as_their_arithmetic_says() -> None:
    # Jump 1, 2, 4 and size 1 -> 3 -> 5 -> 5 + 2 * 2 = 9; starts at 0, -1, -1, then 2 more to the near side.
    field = of(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 3, stride=2, padding=1))
    assert field.size == (9, 9)
    assert field.tops.tolist() == [4 * row - 3 for row in range(6)]


def test_a_dilated_kernel_is_as_wide_as_its_reach() -> None:
    assert of(nn.Conv2d(3, 2, 3, dilation=3)).size == (7, 7)


@pytest.mark.parametrize("last", [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.GroupNorm(1, 4)])
def test_what_sees_everything_has_the_image_for_a_window(last: nn.Module) -> None:
    field = of(nn.Conv2d(3, 4, 3), last)
    assert field.size == (24, 20)
    assert set(field.tops.tolist()) == {0}


def test_dead_units_see_one_pixel() -> None:
    convolution = nn.Conv2d(3, 2, 3)
    nn.init.zeros_(convolution.weight)
    with trunk(nn.Sequential(convolution), "0") as run:
        assert receptive_field(run, torch.rand(2, 3, 8, 8)).size == (1, 1)
