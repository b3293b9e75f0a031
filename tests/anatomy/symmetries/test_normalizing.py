from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import found_in, sizes
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.ws_conv import WSConv2d


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (nn.BatchNorm2d(8), [8]),
        (nn.InstanceNorm2d(8, affine=True, track_running_stats=True), [8]),
        (nn.GroupNorm(4, 8), [2, 4]),
        (nn.GroupNorm(1, 8), [8]),
        (BatchChannelNorm2d(8, 4), [2, 4]),
        (BatchChannelNorm2d(8, 2, estimated=True), [2, 4]),
    ],
)
def test_parameters_and_statistics_move_with_their_channels(norm: nn.Module, expected: list[int]) -> None:
    found = found_in(nn.Sequential(nn.Conv2d(3, 8, 1), norm, nn.ReLU(), nn.Conv2d(8, 2, 1)), 2, 3, 5, 5)
    assert sorted(sizes(found).values()) == expected
    moved = {at.tensor for group in found.groups for at in group.axes}
    assert moved >= {f"1.{name}" for name, tensor in norm.state_dict().items() if tensor.ndim}


@pytest.mark.parametrize("norm", [nn.LayerNorm(8), nn.RMSNorm(8)])
def test_norms_over_the_last_axis(norm: nn.Module) -> None:
    found = found_in(nn.Sequential(nn.Linear(3, 8), norm, nn.Linear(8, 2)), 4, 3)
    assert sizes(found) == {"0": 8}
    assert {at.tensor for at in found.groups[0].axes} >= {f"1.{name}" for name in norm.state_dict()}


def test_standardised_weights_are_followed_to_the_learned_ones() -> None:
    network = nn.Sequential(WSConv2d(3, 8, 3), nn.ReLU(), WSConv2d(8, 6, 3, groups=2, gain=True), nn.Conv2d(6, 2, 1))
    found = found_in(network, 2, 3, 8, 8)
    assert sorted(sizes(found).values()) == [2, 3, 4]
    assert "2.gain" in {at.tensor for group in found.groups for at in group.axes}


def test_statistics_that_an_operator_gives_beside_the_value_keep_their_axes() -> None:
    layers = {"a": nn.Linear(3, 8), "b": nn.Linear(8, 2)}
    found = found_in(
        lambda self, x: self.b(torch.native_layer_norm(self.a(x), [8], None, None, 1e-5)[0]), 4, 3, **layers
    )
    assert sizes(found) == {"a": 8}
