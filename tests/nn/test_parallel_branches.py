from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.nn.maps import random_maps, sides_of_maps, taps_with_gradient
from weightatlas.evaluation import open_model
from weightatlas.nn import ParallelBranches

WEIGHTS = ("first.conv1", "first.conv2", "second.conv1", "second.conv2", "conv3", "conv4")


def by_hand(network: ParallelBranches, images: torch.Tensor) -> torch.Tensor:
    """The logits, each branch written out from its weights, joined by hand."""
    state = network.state_dict()

    def layer(features: torch.Tensor, convolution: str, norm: str) -> torch.Tensor:
        weight = state[f"{convolution}.weight"]
        features = functional.conv2d(features, weight, padding=weight.shape[-1] // 2)
        return functional.batch_norm(features, None, None, state[f"{norm}.weight"], training=True).relu()

    maps = []
    for branch in ("first", "second"):
        features = images
        for number in (1, 2):
            features = functional.max_pool2d(layer(features, f"{branch}.conv{number}", f"{branch}.norm{number}"), 2)
        maps.append(features)
    features = torch.cat(maps, dim=1)
    for number in (3, 4):
        features = layer(features, f"conv{number}", f"norm{number}")
    return functional.linear(features.mean(dim=(2, 3)), state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize(("share", "first", "second"), [(0.5, 5, 5), (0.25, 7, 3), (0.25, 3, 7)])
def test_branches_are_networks_of_their_own_until_they_are_joined(share: float, first: int, second: int) -> None:
    network = ParallelBranches(share, first_kernel=first, second_kernel=second, width=0.25, input_size=24, classes=4)
    network.double()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if "norm" in name and name.endswith("weight"):
            nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    images = random_maps(4, 3, 24, 24)
    torch.testing.assert_close(network(images), by_hand(network, images))


@pytest.mark.parametrize(
    ("share", "width", "units"),
    [(0.25, 1.0, (8, 24)), (0.5, 1.0, (16, 16)), (0.25, 2.0, (16, 48)), (0.01, 0.5, (1, 15)), (0.99, 0.01, (1, 1))],
)
def test_a_share_of_the_units_is_in_the_first_branch_and_one_at_least_in_each(
    share: float, width: float, units: tuple[int, int]
) -> None:
    network = ParallelBranches(share, width=width, input_size=24)
    assert tuple(len(network.get_parameter(f"{name}.conv1.weight")) for name in ("first", "second")) == units
    both = [len(network.get_parameter(f"{name}.conv2.weight")) for name in ("first", "second")]
    assert network.get_parameter("conv3.weight").shape[1] == sum(both)


def test_width_and_kernels_are_chosen_apart_from_each_other() -> None:
    options = {(share, first): f"share={share}&first_kernel={first}" for share in (0.25, 0.5) for first in (3, 7)}
    shapes = {
        key: tuple(open_model(f"weightatlas:parallel-branches?{query}").get_parameter("first.conv1.weight").shape)
        for key, query in options.items()
    }
    assert shapes == {(share, side): (int(32 * share), 3, side, side) for share, side in options}


@pytest.mark.parametrize(("size", "side"), [(24, 6), (32, 8), (12, 6), (8, 8)])
def test_every_tap_gets_gradient_at_every_size(size: int, side: int) -> None:
    network = ParallelBranches(0.25, first_kernel=7, second_kernel=3, width=0.5, input_size=size, classes=4)
    assert network.map_size == side
    assert sides_of_maps(network, size, ["relu4"]) == {"relu4": side}
    assert taps_with_gradient(network, size, *WEIGHTS) == dict.fromkeys(WEIGHTS, True)


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (ParallelBranches(width=0.25, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv4.weight"], other["conv4.weight"])


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="share must be above 0 and below 1, not 1"):
        ParallelBranches(1)
    with pytest.raises(ValueError, match="second_kernel must be odd, not 4"):
        ParallelBranches(second_kernel=4)
    with pytest.raises(ValueError, match="width must be above 0, not 0"):
        ParallelBranches(width=0)
