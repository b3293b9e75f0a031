from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.errors import SourceError
from weightatlas.lab.interventions import intervene
from weightatlas.lab.replacing import add_coordinates


def images(size: int = 8) -> torch.Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_no_pooling_is_a_linear_layer_over_all_positions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
    changed = intervene(network, "no-pooling", input_size=8)
    weight, bias = (changed.get_parameter(f"4.{name}") for name in ("weight", "bias"))
    assert weight.shape == (4, 288)
    features = functional.conv2d(images(), network.get_parameter("0.weight"), network.get_parameter("0.bias")).relu()
    expected = torch.einsum("kcyx,ncyx->nk", weight.reshape(4, 8, 6, 6), features) + bias
    torch.testing.assert_close(changed(images()), expected)


def test_a_convolution_that_covers_the_map_gets_the_head_before_it() -> None:
    parts = (nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.Flatten())
    changed = intervene(nn.Sequential(nn.Conv2d(3, 8, 3), *parts), "x-pooling", input_size=8)
    weight, bias = (changed.get_parameter(f"3.classifier.{name}") for name in ("weight", "bias"))
    assert weight.shape == (16, 48, 1, 1)
    rows = changed.get_submodule("0")(images()).relu().mean(3)
    hidden = torch.einsum("kcy,ncy->nk", weight.reshape(16, 8, 6), rows) + bias
    logits = changed.get_submodule("5")(hidden.relu()[:, :, None, None]).flatten(1)
    torch.testing.assert_close(changed(images()), logits)


def test_a_convolution_over_one_position_stays_a_convolution() -> None:
    parts = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 16, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    changed = intervene(nn.Sequential(nn.Conv2d(3, 8, 3), *parts), "x-pooling", input_size=8)
    assert changed.get_parameter("2.weight").shape == (16, 48, 1, 1)
    assert "2.bias" not in changed.state_dict()
    assert changed(images()).shape == (4, 4)


@pytest.mark.parametrize("flat", [True, False])
def test_normalisations_are_made_anew_for_other_numbers_of_features_only(flat: bool) -> None:
    def order(norms: tuple[nn.Module, ...]) -> tuple[nn.Module, ...]:
        return (nn.Flatten(), *norms) if flat else (*norms, nn.Flatten())

    norm = nn.BatchNorm1d(8) if flat else nn.BatchNorm2d(8)
    parts = (nn.AdaptiveAvgPool2d(1), *order((norm, nn.LayerNorm(8) if flat else nn.Identity())), nn.Linear(8, 4))
    network = nn.Sequential(nn.Conv2d(3, 8, 3), *parts)
    nn.init.constant_(norm.weight, 3.0)
    place = "3" if flat else "2"
    same = intervene(network, "attention", input_size=8).get_submodule(place)
    assert torch.equal(same.get_parameter("weight"), torch.full((8,), 3.0))
    other = intervene(network, "x-pooling", input_size=8)
    found = other.get_submodule(place)
    assert torch.equal(found.get_parameter("weight"), torch.ones(48))
    assert torch.equal(found.get_buffer("running_var"), torch.ones(48))
    assert other.train()(images()).shape == (4, 4), "its statistics take 48 features"
    assert "48" in repr(found)


def test_coordinates_change_nothing_while_their_weights_are_zero() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="reflect"), nn.ReLU())
    expected = network(images())
    kernel = network.get_parameter("0.weight").detach().clone()
    add_coordinates(network, "network", "0")
    weight = network.get_parameter("0.weight")
    assert weight.shape == (8, 5, 3, 3)
    assert torch.equal(weight[:, :3], kernel)
    assert bool((weight[:, 3:] != 0).all())
    assert not torch.allclose(network(images()), expected)
    with torch.no_grad():
        weight[:, 3:] = 0
    torch.testing.assert_close(network(images()), expected)


def test_a_convolution_without_bias_gets_none() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, (3, 1), dilation=2, bias=False))
    add_coordinates(network, "network", "0")
    assert list(network.state_dict()) == ["0.weight"]
    assert network(images()).shape == (4, 8, 4, 8)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ("5", "it has no module '5'"),
        ("1", r"coordconv cannot change 1 \(ReLU\)"),
        ("2", r"coordconv cannot change 2 \(4 groups\)"),
        ("3", r"coordconv cannot change 3 \(ConvTranspose2d\)"),
    ],
)
def test_only_plain_convolutions_get_coordinates(layer: str, problem: str) -> None:
    parts = (nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.ConvTranspose2d(8, 8, 3))
    with pytest.raises(SourceError, match=f"^network: {problem}"):
        add_coordinates(nn.Sequential(nn.Conv2d(3, 8, 3), *parts), "network", layer)
