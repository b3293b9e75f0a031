from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.nn.maps import random_maps, sides_of_maps, taps_with_gradient
from weightatlas.nn import BRANCHES, HEADS, BranchedNetwork, HeadName


def branch_by_branch(network: nn.Module, images: torch.Tensor, branches: int) -> torch.Tensor:
    """What comes out of the second pool, each branch run as a network of its own with plain convolutions."""
    state = network.state_dict()
    answers = []
    for branch in range(branches):
        features = images
        for layer in (1, 2):
            share = {name: state[f"{name}{layer}.weight"].chunk(branches)[branch] for name in ("conv", "norm")}
            features = functional.conv2d(features, share["conv"], padding=share["conv"].shape[-1] // 2)
            features = functional.batch_norm(features, None, None, share["norm"], training=True).relu()
            features = functional.max_pool2d(features, 2)
        answers.append(features)
    return torch.cat(answers, dim=1)


@pytest.mark.parametrize("branches", BRANCHES)
def test_branches_are_networks_of_their_own_until_the_third_layer(branches: int) -> None:
    network = BranchedNetwork(branches, width=0.25, input_size=24, classes=4).double()
    generator = torch.Generator().manual_seed(1)
    for layer in ("norm1", "norm2"):
        nn.init.uniform_(network.get_parameter(f"{layer}.weight"), 0.5, 1.5, generator=generator)
    seen: list[torch.Tensor] = []
    network.get_submodule("pool2").register_forward_hook(lambda _module, _inputs, maps: seen.append(maps.detach()))
    images = random_maps(4, 3, 24, 24)
    network(images)
    torch.testing.assert_close(seen[0], branch_by_branch(network, images, branches))


def test_units_are_the_same_whatever_the_branches_and_the_second_layer_s_weights_fewer() -> None:
    networks = [BranchedNetwork(branches, input_size=32, seed=2) for branches in BRANCHES]
    weights = [[network.get_parameter(f"conv{layer}.weight") for layer in (1, 2, 3, 4)] for network in networks]
    assert [[len(weight) for weight in network] for network in weights] == [[64, 128, 128, 128]] * 3
    assert [network[1].shape[1] for network in weights] == [64, 32, 16]
    assert all(torch.equal(network[0], weights[0][0]) for network in weights), "one start for all"


@pytest.mark.parametrize("width", [0.01, 0.3, 1.1])
def test_every_width_divides_into_four_branches(width: float) -> None:
    shapes = [
        BranchedNetwork(branches, width=width, input_size=24).get_parameter("conv3.weight").shape
        for branches in BRANCHES
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert shapes[0][0] % 4 == 0


@pytest.mark.parametrize(("size", "side"), [(24, 6), (32, 8), (64, 8)])
@pytest.mark.parametrize("head", HEADS)
def test_it_takes_every_head_and_every_tap_gets_gradient(head: HeadName, size: int, side: int) -> None:
    network = BranchedNetwork(2, width=1 / 8, input_size=size, classes=4, head=head)
    assert network.map_size == side
    assert sides_of_maps(network, size, ["relu4"]) == {"relu4": side}
    layers = ("conv1", "conv2", "conv3", "conv4")
    assert taps_with_gradient(network, size, *layers) == dict.fromkeys(layers, True)


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (BranchedNetwork(width=1 / 8, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv4.weight"], other["conv4.weight"])


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="branches must be one of 1, 2, 4, not 3"):
        BranchedNetwork(3)
    with pytest.raises(ValueError, match="width must be above 0, not -1"):
        BranchedNetwork(width=-1)
    with pytest.raises(ValueError, match="10 x 10 cannot give a last map"):
        BranchedNetwork(input_size=10)
