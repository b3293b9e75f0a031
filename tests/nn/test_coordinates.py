from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.nn.maps import random_maps
from weightatlas.nn import CoordConv2d, coordinate_channels


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_coordinates_run_from_minus_one_to_one_in_equal_steps(height: int, width: int) -> None:
    y, x = coordinate_channels(height, width, dtype=torch.float64)
    for values, count in ((y, height), (x.T, width)):
        assert values.shape[0] == count
        assert torch.equal(values, values[:, :1].expand_as(values)), "one coordinate does not change with the other"
        expected = torch.linspace(-1, 1, count, dtype=torch.float64) if count > 1 else torch.zeros(1)
        torch.testing.assert_close(values[:, 0], expected, check_dtype=False)
        assert torch.equal(values, -values.flip(0)), "the middle is 0"


def test_it_convolves_the_map_and_the_two_coordinates() -> None:
    layer = CoordConv2d(3, 4, (3, 5), stride=2, padding=(1, 2), bias=False).double()
    assert layer.weight.shape == (4, 5, 3, 5)
    maps = random_maps(2, 3, 6, 7)
    weight = layer.weight.detach()
    where = torch.stack(
        [
            torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None].expand(6, 7),
            torch.linspace(-1, 1, 7, dtype=torch.float64).expand(6, 7),
        ]
    )
    expected = functional.conv2d(maps, weight[:, :3], stride=2, padding=(1, 2))
    expected = expected + functional.conv2d(where[None], weight[:, 3:], stride=2, padding=(1, 2))
    torch.testing.assert_close(layer(maps).detach(), expected)
    torch.testing.assert_close(layer(maps[0]), layer(maps)[0])


def test_without_weight_on_the_coordinates_it_is_a_convolution() -> None:
    layer = CoordConv2d(3, 4, 3, padding=1, padding_mode="circular").double()
    plain = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").double()
    with torch.no_grad():
        layer.weight[:, 3:] = 0
        plain.load_state_dict({"weight": layer.weight[:, :3], "bias": layer.bias})
    maps = random_maps(2, 3, 6, 7)
    torch.testing.assert_close(layer(maps), plain(maps))


def test_an_empty_map_still_tells_where() -> None:
    layer = CoordConv2d(1, 1, 1).double()
    answer = layer(torch.zeros(1, 1, 4, 4, dtype=torch.float64)).detach()
    assert answer.unique().numel() == 16


def test_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="CoordConv2d takes one group, not 3"):
        CoordConv2d(3, 6, 3, groups=3)
