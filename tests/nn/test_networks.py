from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.nn.maps import taps_with_gradient
from weightatlas.nn import ARTICLE, HEADS, SMALL, Group, HeadName, SimplifiedNetwork
from weightatlas.nn.networks import pool_steps


def kernels(network: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in network.named_children() if isinstance(module, nn.Conv2d)}


def test_the_article_s_network_has_its_layers_shapes_and_pools() -> None:
    network = SimplifiedNetwork()
    assert {name: tuple(conv.weight.shape) for name, conv in kernels(network).items()} == {
        "conv0a": (32, 3, 7, 7),
        "conv1a": (64, 32, 5, 5),
        "conv2a": (64, 64, 5, 5),
        "conv3a": (128, 64, 5, 5),
        "conv3b": (128, 128, 5, 5),
        "conv4a": (256, 128, 5, 5),
        "conv4b": (256, 256, 5, 5),
        "conv4c": (256, 256, 5, 5),
        "conv4d": (256, 256, 5, 5),
        "conv4e": (256, 256, 5, 5),
        "conv5a": (512, 256, 5, 5),
        "conv5b": (512, 512, 5, 5),
    }
    assert network.pools == (("pool0", 2), ("pool1", 2), ("pool2", 2), ("pool3", 2), ("pool4", 2))
    assert network.dropped_pools == ()
    assert network.map_size == 7
    assert network.get_submodule("classifier").weight.shape == (1001, 512)


def test_a_small_input_drops_the_first_pools() -> None:
    network = SimplifiedNetwork(ARTICLE, width=1 / 16, input_size=32, classes=10)
    assert network.pools == (("pool3", 2), ("pool4", 2))
    assert network.dropped_pools == ("pool0", "pool1", "pool2")
    assert network.map_size == 8
    assert list(kernels(network))[-2:] == ["conv5a", "conv5b"]


@pytest.mark.parametrize("size", [24, 32, 64, 224])
@pytest.mark.parametrize(("groups", "width"), [(ARTICLE, 1 / 32), (SMALL, 1 / 4)])
@pytest.mark.parametrize("head", HEADS)
def test_every_tap_of_the_last_two_kernels_gets_gradient(
    head: HeadName, groups: tuple[Group, ...], width: float, size: int
) -> None:
    network = SimplifiedNetwork(groups, width=width, input_size=size, classes=4, head=head)
    assert taps_with_gradient(network, size, "conv5a", "conv5b") == {"conv5a": True, "conv5b": True}


def test_a_map_that_is_too_small_would_leave_taps_without_gradient() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Conv2d(3, 4, 5, padding=2), nn.Flatten())
    assert taps_with_gradient(network, 24, "1") == {"1": False}
    gradient = network.get_parameter("1.weight").grad
    assert gradient is not None
    taps = gradient.abs().sum(dim=(0, 1))
    assert int((taps == 0).sum()) == 16, "the border of a 5 x 5 kernel never sees a 2 x 2 map"


@given(size=st.one_of(st.integers(6, 8), st.integers(12, 4096)), places=st.integers(1, 6))
def test_the_last_map_is_six_to_eight_wide_at_every_size(size: int, places: int) -> None:
    steps = pool_steps(size, places)
    side = size
    for step in steps:
        side //= step
    assert len(steps) == places
    assert 6 <= side <= 8
    kept = [step for step in steps if step > 1]
    assert steps[len(steps) - len(kept) :] == tuple(kept), "the first pools are dropped, not the last"
    assert all(step == 2 for step in kept[1:])


@pytest.mark.parametrize(("size", "places"), [(5, 5), (9, 5), (11, 5), (24, 0)])
def test_a_size_that_fits_no_map_is_refused(size: int, places: int) -> None:
    with pytest.raises(ValueError, match=rf"{size} x {size} cannot give a last map"):
        pool_steps(size, places)


@pytest.mark.parametrize("size", [24, 40, 50])
@pytest.mark.parametrize("head", HEADS)
def test_the_network_answers_at_its_declared_map_size(head: HeadName, size: int) -> None:
    network = SimplifiedNetwork(SMALL, width=0.25, input_size=size, classes=5, in_channels=1, head=head)
    seen: list[torch.Size] = []
    network.get_submodule("relu5b").register_forward_hook(lambda _module, _inputs, maps: seen.append(maps.shape))
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 5)
    assert seen == [(2, 16, network.map_size, network.map_size)]


def test_the_head_changes_no_weight_and_no_name_below_it() -> None:
    baseline = SimplifiedNetwork(SMALL, width=0.25, input_size=24, seed=5).state_dict()
    convolutional = {name for name in baseline if not name.startswith("classifier.")}
    for head in HEADS:
        state = SimplifiedNetwork(SMALL, width=0.25, input_size=24, seed=5, head=head).state_dict()
        below = {name for name in state if not name.startswith(("head.", "classifier."))}
        assert below == convolutional
        assert all(torch.equal(state[name], baseline[name]) for name in below), head
        if head in {"gap", "no-pooling", "x-pooling"}:
            assert state.keys() == baseline.keys(), "as checkpoints of earlier releases have them"


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (SimplifiedNetwork(SMALL, input_size=24, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv5b.weight"], other["conv5b.weight"])


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"head must be one of gap, no-pooling, .*, not 'mean'"):
        SimplifiedNetwork(SMALL, input_size=24, head="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="their kernels must be odd"):
        SimplifiedNetwork([Group("0", kernel=4, channels=8)], input_size=8)
    for groups in ([], [Group("0", kernel=3, channels=8, convolutions=0)]):
        with pytest.raises(ValueError, match="one group or more, each of 1 to 26 convolutions"):
            SimplifiedNetwork(groups, input_size=8)
