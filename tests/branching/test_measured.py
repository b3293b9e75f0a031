from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.reference import unit_tuning as slow
from weightatlas.branching.measured import measured_tuning

SIDE, RADIUS = 9, 3.6


def unit_length(weight: np.ndarray) -> torch.Tensor:
    lengths = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    return torch.from_numpy(weight / lengths[:, None, None, None]).float()


def first_layer(*, random: int = 8) -> nn.Sequential:
    """Four grey Gabors, four blobs of one hue each, and random units."""
    gabors = np.stack(
        [slow.gabor_kernel(SIDE, angle=angle, frequency=0.2, width=1.7, phase=90) for angle in (0, 45, 90, 135)]
    )
    blob = slow.spot_kernel(SIDE, width=1.5, ratio=2.0, surround=0.0)
    hues = np.array([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2], [0, 1, -1]])[:, :, None, None]
    noise = np.random.default_rng(0).normal(size=(random, 3, SIDE, SIDE))
    weight = np.concatenate([np.repeat(gabors[:, None], 3, axis=1), blob * hues, noise])
    layer = nn.Conv2d(3, len(weight), SIDE, padding=SIDE // 2)
    layer.weight.data = unit_length(weight)
    return nn.Sequential(layer, nn.ReLU())


def gabor_layer(frequency: float, side: int, angles: np.ndarray, phases: tuple[int, ...]) -> np.ndarray:
    """Balanced grey Gabors, (angles * phases, 3, side, side)."""
    kernels = np.stack(
        [
            slow.gabor_kernel(side, angle=angle, frequency=frequency, width=0.22 * side, phase=phase)
            for angle in angles
            for phase in phases
        ]
    )
    kernels -= kernels.mean(axis=(1, 2), keepdims=True)
    return np.repeat((kernels / np.abs(kernels).sum(axis=(1, 2), keepdims=True))[:, None], 3, axis=1)


def stacked(filters: np.ndarray, units: np.ndarray) -> nn.Sequential:
    first = nn.Conv2d(3, len(filters), filters.shape[2], padding=filters.shape[2] // 2, bias=False)
    second = nn.Conv2d(len(filters), len(units), units.shape[2], padding=units.shape[2] // 2, bias=False)
    first.weight.data, second.weight.data = torch.from_numpy(filters).float(), unit_length(units)
    return nn.Sequential(first, nn.ReLU(), second)


def grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(side) - (side - 1) / 2
    right, down = np.meshgrid(x, x)
    return right, -down


def high_low_network() -> nn.Sequential:
    """Fine and coarse energy in the first layer, their difference between two halves in the second; random units."""
    angles, phases = np.array([0.0, 90.0]), (0, 90, 180, 270)
    filters = np.concatenate([gabor_layer(frequency, 9, angles, phases) for frequency in (0.33, 0.1)])
    kinds = np.repeat([1.0, -1.0], 8)[:, None, None]
    right, up = grid(11)
    halves = [kinds * np.tanh(math.cos(turn) * right + math.sin(turn) * up) for turn in np.radians([0, 90, 180, 270])]
    return stacked(filters, np.concatenate([halves, np.random.default_rng(0).normal(size=(4, 16, 11, 11))]))


def touching(off: np.ndarray, tangent: np.ndarray | float, angles: np.ndarray) -> np.ndarray:
    """Weights (angles, h, w) for bars on a line along its tangent (degrees), against those across it."""
    on_line = np.exp(-0.5 * (off / 0.8) ** 2)
    weight: np.ndarray = on_line * np.cos(2 * np.radians(tangent - angles[:, None, None]))
    return weight


def curve_network() -> nn.Sequential:
    """Bars in the first layer; in the second those that touch an arc, or a straight line, against those across it."""
    angles = np.arange(0, 180, 22.5)
    right, up = grid(13)
    units = []
    for turn in np.radians([0, 90, 180, 270]):
        x, y = RADIUS * math.cos(turn), RADIUS * math.sin(turn)
        tangent = np.degrees(np.arctan2(up - y, right - x)) + 90
        outside = (right - x) * x + (up - y) * y < 0
        units.append(outside * touching(np.hypot(right - x, up - y) - RADIUS, tangent, angles))
    for turn in (0.0, 45.0, 90.0, 135.0):
        off = up * math.cos(math.radians(turn)) - right * math.sin(math.radians(turn))
        units.append((np.hypot(right, up) < 6) * touching(off, turn, angles))
    noise = np.random.default_rng(0).normal(size=(56, 8, 13, 13))
    return stacked(gabor_layer(0.16, 7, angles, (0,)), np.concatenate([np.array(units), noise]))


def test_planted_units_of_a_first_layer_are_labelled() -> None:
    found = measured_tuning(first_layer(), ["0"]).layers["0"]
    assert found.labels[:8] == ("black-and-white",) * 4 + ("colour",) * 4
    np.testing.assert_allclose(found.leads[:8, 0], [-1] * 4 + [1] * 4, atol=1e-6)
    apart = (found.tuning.orientation[:4] - np.array([0, 45, 90, 135]) + 90) % 180 - 90
    assert np.abs(apart).max() < 3
    turned = (found.tuning.hue[4:8] - np.array([0, 120, 240, 90]) + 180) % 360 - 180
    assert np.abs(turned).max() < 3


def test_planted_high_low_units_are_labelled() -> None:
    found = measured_tuning(high_low_network(), ["2"]).layers["2"]
    assert found.labels[:4] == ("high-low frequency",) * 4
    turned = (found.tuning.high_low_orientation[:4] - np.array([0, 90, 180, 270]) + 180) % 360 - 180
    assert np.abs(turned).max() < 15


def test_planted_curve_units_are_labelled_and_straight_ones_are_not() -> None:
    found = measured_tuning(curve_network(), ["2"]).layers["2"]
    assert found.labels[:4] == ("curve",) * 4
    assert "curve" not in found.labels[4:8]
    turned = (found.tuning.curve_orientation[:4] - np.array([0, 90, 180, 270]) + 180) % 360 - 180
    assert np.abs(turned).max() < 15
    np.testing.assert_allclose(np.sin(np.radians(found.tuning.orientation[4:8] - [0, 45, 90, 135])), 0, atol=0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_of_random_units_one_in_twenty_is_labelled(seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2, padding=3), nn.BatchNorm2d(96), nn.ReLU(), nn.Conv2d(96, 160, 3, padding=1)
    )
    found = measured_tuning(model, ["0", "3"], size=32, seed=seed)
    named = [label != "other" for layer in found.layers.values() for label in layer.labels]
    assert np.mean(named) < 0.05 + 3.5 * math.sqrt(0.05 * 0.95 / len(named))


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)).train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    measured_tuning(model, ["3"], size=24)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model] == [True, False, True, True]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_same_seed_gives_the_same_answers() -> None:
    model = first_layer(random=4)
    first, second = (measured_tuning(model, ["0"], size=32).layers["0"] for _ in range(2))
    np.testing.assert_array_equal(first.family_scores, second.family_scores)
    np.testing.assert_array_equal(first.p_values, second.p_values)


def test_normalization_shows_grey_where_the_model_has_it() -> None:
    seen: list[torch.Tensor] = []

    class Watching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images

    model = nn.Sequential(Watching(), nn.Conv2d(3, 2, 5))
    mean, deviation = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    measured_tuning(model, ["1"], size=16, normalization=(mean, deviation))
    border = torch.cat([images[:, :, 0, 0] for images in seen[1:]])
    pixels = border * torch.tensor(deviation) + torch.tensor(mean)
    torch.testing.assert_close(pixels, torch.full_like(pixels, 0.5), atol=0.03, rtol=0)
    with pytest.raises(ValueError, match="1 means"):
        measured_tuning(model, ["1"], normalization=((0.5,), (0.5,)))


def test_a_model_of_one_channel_says_nothing_of_colour() -> None:
    torch.manual_seed(0)
    found = measured_tuning(nn.Sequential(nn.Conv2d(1, 12, 7)), ["0"], size=24).layers["0"]
    assert np.isnan(found.family_scores[:, :2]).all()
    assert np.isfinite(found.family_scores[:, 2:]).all()
    assert np.isnan(found.tuning.hue).all()
    assert not {"colour", "black-and-white"} & set(found.labels)


def test_layers_that_cannot_be_asked_are_told_with_the_reason() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.unused = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.up = nn.ConvTranspose2d(4, 4, 2)
            self.norm = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answers: torch.Tensor = self.up(self.norm(self.conv(images)))
            return answers

    found = measured_tuning(Model(), ["conv", "unused", "up", "norm"], size=16)
    assert list(found.layers) == ["conv"]
    assert found.skipped["unused"] == "the network does not run it"
    assert "ConvTranspose2d" in found.skipped["up"]
    assert "parametrization" in found.skipped["norm"]
    assert [row["skipped"] for row in found.rows()[4:]] == list(found.skipped.values())


def test_a_unit_that_answers_nothing_is_skipped() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 5))
    model[0].weight.data[2] = 0.0  # type: ignore[operator]
    found = measured_tuning(model, ["0"], size=16).layers["0"]
    assert list(found.skipped) == [2]
    assert found.labels[2] == "other"
    assert np.isnan(found.tuning.orientation[2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_models_own_type_is_kept(dtype: torch.dtype) -> None:
    model = first_layer(random=4).to(dtype)
    found = measured_tuning(model, ["0"], size=32).layers["0"]
    assert model[0].weight.dtype == dtype
    assert found.labels[4:8] == ("colour",) * 4


def test_wrong_arguments_say_what_to_give() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="no module 'conv'"):
        measured_tuning(model, ["conv"])
    with pytest.raises(ValueError, match="8 or more"):
        measured_tuning(model, ["0"], size=4)
    with pytest.raises(ValueError, match="4 channels"):
        measured_tuning(nn.Sequential(nn.Conv2d(4, 4, 3)), ["0"])


def test_progress_is_told_after_each_layer() -> None:
    told: list[tuple[int, int, str]] = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    measured_tuning(model, ["0", "1"], size=16, progress=lambda done, total, label: told.append((done, total, label)))
    assert told == [(1, 2, "0"), (2, 2, "1")]
