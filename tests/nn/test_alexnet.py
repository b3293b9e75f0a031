from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.nn.maps import random_maps, sides_of_maps, taps_with_gradient
from weightatlas.nn import AlexNet
from weightatlas.nn.alexnet import NORMS, GroupedResponseNorm, Norm, stem_for

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def test_it_has_the_article_s_kernels_and_parameters() -> None:
    with torch.device("meta"):
        state = AlexNet().state_dict()
    assert {name.removesuffix(".weight"): tuple(value.shape) for name, value in state.items() if "weight" in name} == {
        "conv1": (96, 3, 11, 11),
        "conv2": (256, 48, 5, 5),
        "conv3": (384, 256, 3, 3),
        "conv4": (384, 192, 3, 3),
        "conv5": (256, 192, 3, 3),
        "fc6": (4096, 9216),
        "fc7": (4096, 4096),
        "fc8": (1000, 4096),
    }
    assert sum(value.numel() for value in state.values()) == 60_965_224


@pytest.mark.parametrize(
    ("size", "sides", "dropped"),
    [
        (227, {"conv1": 55, "conv2": 27, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}, ()),
        (224, {"conv1": 55, "conv2": 27, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}, ()),
        (64, {"conv1": 60, "conv2": 29, "conv3": 14, "conv4": 14, "conv5": 14, "pool5": 6}, ()),
        (32, {"conv1": 28, "conv2": 28, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}, ("pool1",)),
        (24, {"conv1": 20, "conv2": 20, "conv3": 20, "conv4": 20, "conv5": 20, "pool5": 9}, ("pool1", "pool2")),
        (8, {"conv1": 6, "conv2": 6, "conv3": 6, "conv4": 6, "conv5": 6}, ("pool1", "pool2", "pool5")),
    ],
)
def test_maps_keep_about_the_article_s_size(size: int, sides: dict[str, int], dropped: tuple[str, ...]) -> None:
    network = AlexNet(width=1 / 32, input_size=size, classes=4)
    assert sides_of_maps(network, size, sides) == sides
    assert network.dropped_pools == dropped
    assert network.map_size == list(sides.values())[-1]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(6, 260))
def test_every_size_from_six_up_leaves_six_or_more_for_the_linear_layers(size: int) -> None:
    network = AlexNet(width=0.01, input_size=size, classes=2, in_channels=1).eval()
    assert 6 <= network.map_size <= 13
    assert network(torch.zeros(1, 1, size, size)).shape == (1, 2)


@pytest.mark.parametrize("size", [24, 32, 64, 227])
def test_every_tap_gets_gradient(size: int) -> None:
    network = AlexNet(width=1 / 8, input_size=size, classes=4, dropout=0)
    assert taps_with_gradient(network, size, *CONVOLUTIONS) == dict.fromkeys(CONVOLUTIONS, True)


def test_the_branches_meet_in_the_third_layer_and_not_before() -> None:
    network = AlexNet(width=1 / 4, input_size=32, classes=4).double().eval()
    images = random_maps(2, 3, 32, 32)

    def through(name: str) -> torch.Tensor:
        features = images
        for module_name, module in network.named_children():
            features = module(features)
            if module_name == name:
                break
        return features.detach()

    before = {name: through(name) for name in ("norm1", "norm2", "conv3")}
    with torch.no_grad():
        network.get_parameter("conv1.weight")[12:] *= -1
    for name in ("norm1", "norm2"):
        changed = (through(name) != before[name]).flatten(2).any(2).any(0)
        half = len(changed) // 2
        assert not bool(changed[:half].any()), f"the first branch of {name} saw the second"
        assert bool(changed[half:].any())
    assert bool((through("conv3") != before["conv3"]).flatten(2).any(2).any(0).all())


def test_responses_are_divided_by_the_energy_of_five_channels_of_their_group() -> None:
    features = 30 * random_maps(2, 14, 2, 3)
    expected = torch.empty_like(features)
    for channel in range(14):
        group = range(7) if channel < 7 else range(7, 14)
        near = [other for other in group if abs(other - channel) <= 2]
        energy = features[:, near].square().sum(1)
        expected[:, channel] = features[:, channel] / (2 + 1e-4 * energy) ** 0.75
    torch.testing.assert_close(GroupedResponseNorm()(features), expected)
    innermost = features[:1].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(GroupedResponseNorm()(innermost), expected[:1])


@pytest.mark.parametrize("width", [1 / 16, 1 / 2])
def test_logits_start_at_the_scale_of_one_at_every_width(width: int) -> None:
    logits = AlexNet(width=width, input_size=32, classes=50).eval()(random_maps(8, 3, 32, 32).float())
    assert 0.1 < float(logits.detach().std()) < 3


def test_dropout_works_in_training_only() -> None:
    network = AlexNet(width=1 / 8, input_size=32, classes=4)
    images = random_maps(2, 3, 32, 32).float()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_the_seed_fixes_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (AlexNet(width=1 / 16, input_size=24, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv5.weight"], other["conv5.weight"])


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 5 x 5 are too small: AlexNet needs 6 x 6"):
        stem_for(5)
    with pytest.raises(ValueError, match="width must be above 0, not 0"):
        AlexNet(width=0)


def test_in_half_precision_large_responses_are_divided_as_in_single() -> None:
    features = torch.full((1, 8, 2, 2), 300.0)
    normalised = GroupedResponseNorm()(features.half())
    assert normalised.dtype == torch.float16
    torch.testing.assert_close(normalised.float(), GroupedResponseNorm()(features), rtol=2e-3, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_without_groups_it_starts_from_the_same_first_layer_and_every_unit_reaches_every_unit(norm: Norm) -> None:
    grouped, whole = (
        AlexNet(width=1 / 8, input_size=32, classes=4, norm=norm, groups=groups, seed=3) for groups in (2, 1)
    )
    assert torch.equal(grouped.get_parameter("conv1.weight"), whole.get_parameter("conv1.weight"))
    for name in ("conv2", "conv4", "conv5"):
        shapes = [tuple(network.get_parameter(f"{name}.weight").shape) for network in (grouped, whole)]
        assert shapes[1] == (shapes[0][0], 2 * shapes[0][1], *shapes[0][2:])


def test_response_normalisation_stays_within_a_group() -> None:
    with torch.no_grad():
        features = torch.randn(1, 12, 6, 6, generator=torch.Generator().manual_seed(0))
        moved = features.clone()
        moved[:, 6] *= 300
        halves = [GroupedResponseNorm(groups)(moved)[:, :6] for groups in (2, 1)]
    assert torch.equal(halves[0], GroupedResponseNorm(2)(features)[:, :6]), "the other half is not seen"
    assert not torch.equal(halves[1], GroupedResponseNorm(1)(features)[:, :6]), "across all channels it is"


def test_batch_norms_take_the_place_of_response_normalisation() -> None:
    network = AlexNet(width=1 / 8, input_size=32, classes=4, norm="batch")
    names = [name for name, _ in network.named_children()]
    assert names[:7] == ["conv1", "norm1", "relu1", "conv2", "norm2", "relu2", "pool2"]
    assert not any(isinstance(module, GroupedResponseNorm) for module in network.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 5
    assert [name for name, _ in network.named_parameters() if name.startswith("conv") and "bias" in name] == []
    assert taps_with_gradient(network, 32, *CONVOLUTIONS) == dict.fromkeys(CONVOLUTIONS, True)


def test_bad_groups_and_norms_are_refused() -> None:
    with pytest.raises(ValueError, match="groups must be 1 or 2, not 4"):
        AlexNet(groups=4)
    with pytest.raises(ValueError, match="norm must be one of response, batch, not 'layer'"):
        AlexNet(norm="layer")  # type: ignore[arg-type]
