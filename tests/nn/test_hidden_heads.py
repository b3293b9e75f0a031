from __future__ import annotations

import pytest
import torch

from tests.nn.maps import random_maps
from weightatlas.nn import ChannelGroups, GlobalMaxHidden


def normalised(values: torch.Tensor) -> torch.Tensor:
    """Batch norm with its first scale and shift, then ReLU."""
    centred = values - values.mean(0)
    return (centred / (centred.square().mean(0) + 1e-5).sqrt()).clamp(min=0)


def test_the_hidden_layer_sees_each_channel_s_largest_value() -> None:
    head = GlobalMaxHidden(3, 4, 5, hidden=7).double()
    maps = random_maps(6, 3, 4, 5)
    rows = [[max(channel.flatten().tolist()) for channel in image] for image in maps]
    largest = torch.tensor(rows, dtype=torch.float64)
    expected = normalised(largest @ head.hidden.weight.detach().T)
    torch.testing.assert_close(head(maps).detach(), expected)


def test_the_maximum_does_not_care_where() -> None:
    head = GlobalMaxHidden(3, 4, 5, hidden=7).double().eval()
    maps = random_maps(6, 3, 4, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    mixed = maps.flatten(2)[:, :, order].view_as(maps)
    torch.testing.assert_close(head(mixed), head(maps))


def test_each_group_has_a_layer_over_its_own_channels() -> None:
    head = ChannelGroups(6, 4, 5, groups=3, units=7).double()
    maps = random_maps(8, 6, 4, 5)
    parts = [
        torch.einsum("bcyx,kcyx->bk", maps[:, 2 * group : 2 * group + 2], layer.weight.detach().view(7, 2, 4, 5))
        for group, layer in enumerate(head.groups)
        if isinstance(layer, torch.nn.Linear)
    ]
    torch.testing.assert_close(head(maps).detach(), normalised(torch.cat(parts, dim=1)))


@pytest.mark.parametrize(("channels", "groups"), [(512, 16), (32, 16), (24, 12), (18, 9), (17, 1), (13, 13), (1, 1)])
def test_the_groups_are_the_most_that_divide_the_channels(channels: int, groups: int) -> None:
    head = ChannelGroups(channels, 2, 2)
    assert len(head.groups) == groups
    assert head.out_features == 64 * groups


def test_bad_options_are_refused() -> None:
    for options in ({"groups": 0}, {"units": 0}):
        with pytest.raises(ValueError, match="a head needs 1 or more of everything"):
            ChannelGroups(4, 2, 2, **options)
    with pytest.raises(ValueError, match="a head needs 1 or more of everything"):
        GlobalMaxHidden(4, 2, 2, hidden=0)
