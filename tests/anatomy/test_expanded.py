from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.reference.expanded_weights import brute_force, composed_kernels
from weightatlas.anatomy.expanded import ExpandedWeights, expanded_weights
from weightatlas.errors import SourceError
from weightatlas.nn import L2Pool2d


def seeded(network: nn.Module) -> Any:  # noqa: ANN401 - the same network
    """Weights, running statistics and all, of a seed; in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.copy_(
                torch.rand(value.shape, generator=generator) + 0.1
                if "var" in name
                else torch.randn(value.shape, generator=generator)
            )
    return network.eval()


def on_the_map(found: ExpandedWeights, size: int) -> torch.Tensor:
    """The kernels at their place on the whole map."""
    units, channels, height, width = found.weight.shape
    whole = torch.zeros(units, channels, size, size)
    top, left = found.box
    whole[:, :, top : top + height, left : left + width] = found.weight
    return whole


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"kernel_size": 3}, {"kernel_size": 5}),
        ({"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 3}),
        ({"kernel_size": 3, "dilation": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}),
        ({"kernel_size": 1}, {"kernel_size": 5, "dilation": 2, "padding": 4}),
    ],
)
def test_two_convolutions_compose_as_their_kernels_do(first: dict[str, Any], second: dict[str, Any]) -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 4, **first), nn.Conv2d(4, 5, **second)))
    found = expanded_weights(network, torch.zeros(1, 3, 33, 33), "1")
    assert found.exact
    assert found.notes == ()
    expected = composed_kernels(
        network[0].weight, network[1].weight, stride=network[0].stride[0],
        dilations=(network[0].dilation[0], network[1].dilation[0]),
    )  # fmt: skip
    close(found.weight, expected)


LINEAR = {
    "batch norm": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3)),
    "pool and groups": nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, groups=2)),
    "transposed": nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ConvTranspose2d(4, 5, 4, 2, 1)),
    "depthwise": nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 3, 1)),
    "upsampled": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 5, 3)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_paths_are_exact(name: str) -> None:
    network = seeded(LINEAR[name])
    images = torch.zeros(1, 3, 17, 17)
    found = expanded_weights(network, images, str(len(network) - 1))
    assert found.exact
    close(on_the_map(found, 17), brute_force(network, images))


@pytest.mark.parametrize(
    ("bent", "straight"),
    [
        (nn.ReLU(inplace=True), nn.Identity()),
        (nn.GELU(), nn.Identity()),
        (nn.MaxPool2d(2), nn.AvgPool2d(2)),
        (nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)),
        (L2Pool2d(2), nn.AvgPool2d(2)),
        (nn.Hardswish(), nn.Identity()),
    ],
)
def test_what_bends_is_replaced_and_said(bent: nn.Module, straight: nn.Module) -> None:
    first, last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
    network = seeded(nn.Sequential(first, bent, last))
    images = torch.zeros(1, 3, 19, 19)
    found = expanded_weights(network, images, "2")
    assert not found.exact
    assert any("became" in note for note in found.notes)
    close(on_the_map(found, 19), brute_force(nn.Sequential(first, straight, last), images))


def test_max_pooling_with_a_rounded_up_or_dilated_window_averages_that_window() -> None:
    pools: list[tuple[Any, int]] = [(nn.MaxPool2d(3, 2, ceil_mode=True), 3), (nn.MaxPool2d(2, 1, dilation=2), 3)]
    for pool, side in pools:
        network = seeded(nn.Sequential(nn.Conv2d(3, 4, 1), pool, nn.Conv2d(4, 2, 1)))
        found = expanded_weights(network, torch.zeros(1, 3, 16, 16), "2")
        one = torch.einsum("ui,ic->uc", network[2].weight[:, :, 0, 0], network[0].weight[:, :, 0, 0])
        taps = torch.zeros(side, side)
        taps[:: pool.dilation, :: pool.dilation] = 1 / pool.kernel_size**2
        close(found.weight, one[:, :, None, None] * taps)


class Gated(nn.Module):
    """A convolution, a gate of its means, and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.gate = nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = functional.relu(self.first(images))
        features = features * self.gate(features.mean((2, 3), keepdim=True)).sigmoid() + features
        return torch.as_tensor(self.last(features))


def test_gates_are_one_and_shortcuts_are_kept() -> None:
    network = seeded(Gated())
    images = torch.zeros(1, 3, 12, 12)
    found = expanded_weights(network, images, "last")
    plain = nn.Sequential(network.first, network.last)
    close(on_the_map(found, 12), 2 * brute_force(plain, images))
    assert "what gates a product was taken as 1" in found.notes


def test_a_bottleneck_is_jumped_over_by_naming_what_lies_before_it() -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 6, 5, padding=2)))
    images = torch.zeros(1, 3, 20, 20)
    found = expanded_weights(network, images, "3", onto="1", units=[4, 0])
    assert found.exact
    whole = torch.einsum("umyx,mc->ucyx", network[3].weight, network[2].weight[:, :, 0, 0])
    close(found.weight, whole[[4, 0]])
    assert found.units.tolist() == [4, 0]
    raw = expanded_weights(network, images, "3", onto="2")
    close(raw.weight, network[3].weight)


def test_a_crop_is_taken_about_the_centre_and_filled_with_zeros() -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 2, 5, padding=2)))
    images = torch.zeros(1, 3, 16, 16)
    close(expanded_weights(network, images, "0", crop=3).weight, network[0].weight[:, :, 1:4, 1:4])
    wide = expanded_weights(network, images, "0", crop=9).weight
    close(wide, functional.pad(network[0].weight, (2, 2, 2, 2)))
    with pytest.raises(ValueError, match="crop must be 1 or more, not 0"):
        expanded_weights(network, images, "0", crop=0)


def test_units_of_a_linear_layer_weigh_the_whole_map() -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(32, 5)))
    found = expanded_weights(network, torch.zeros(1, 3, 4, 4), "2", onto="0")
    close(found.weight, network[2].weight.reshape(5, 2, 4, 4))
    assert found.notes == ("the kernel reaches the border of the map: larger inputs would show all of it",)


def test_permuting_units_permutes_their_weights_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 7, 3)))
    images = torch.zeros(1, 3, 12, 12)
    whole = expanded_weights(network, images, "2").weight
    monkeypatch.setattr("weightatlas.anatomy.expanded.MEMORY", 1)
    order = np.random.default_rng(0).permutation(7)
    torch.testing.assert_close(expanded_weights(network, images, "2", units=order).weight, whole[order])


def test_what_is_written_into_a_part_of_a_value_counts() -> None:
    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1)
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = functional.relu(self.first(images))
            features[:, 2:].mul_(3.0)
            return torch.as_tensor(self.last(features))

    network = seeded(Writing())
    scale = torch.tensor([1.0, 1.0, 3.0, 3.0])
    expected = network.last.weight[:, :, 0, 0] @ (scale[:, None] * network.first.weight[:, :, 0, 0])
    close(expanded_weights(network, torch.zeros(1, 3, 5, 5), "last").weight[:, :, 0, 0], expected)


def test_kernels_that_would_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightatlas.anatomy.expanded.LIMIT", 7 * 3 * 9 * 4 - 1)
    network = nn.Sequential(nn.Conv2d(3, 7, 3))
    with pytest.raises(SourceError, match=r"0: the kernels of its 7 units would take 0\.0 GiB; name fewer units"):
        expanded_weights(network, torch.zeros(1, 3, 8, 8), "0")
    assert len(expanded_weights(network, torch.zeros(1, 3, 8, 8), "0", units=range(6)).weight) == 6


def test_the_model_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    expanded_weights(network, torch.zeros(2, 3, 8, 8), "2")
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in network.parameters())


def test_what_cannot_be_expanded_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(SourceError, match="calls no layer 'conv9'"):
        expanded_weights(network, images, "conv9")
    with pytest.raises(SourceError, match="0: it does not depend on 1"):
        expanded_weights(network, images, "0", onto="1")
    with pytest.raises(ValueError, match="units must be 0 to 1, one or more, not 0 to 2"):
        expanded_weights(network, images, "1", units=[0, 2])
    with pytest.raises(ValueError, match="not none"):
        expanded_weights(network, images, "1", units=[])
    symbols = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    with pytest.raises(SourceError, match="no input of real numbers"):
        expanded_weights(symbols, torch.zeros(1, 4, dtype=torch.long), "1")
