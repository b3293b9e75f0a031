from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.branching.pictures.patches import exciting_patches
from weightatlas.data.normalisation import STATISTICS
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_data

CIFAR = Path(__file__).resolve().parents[4] / "shared" / "data" / "cifar10"


def network(padding: int = 0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 5, padding=padding), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=padding))


def batches(count: int = 50, size: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return [(part, torch.zeros(len(part), dtype=torch.int64)) for part in torch.split(images, 16)]


def test_patches_are_those_that_sorting_everything_finds() -> None:
    model, data = network().eval(), batches()
    found = exciting_patches(model, "2", [3, 1], data, count=5)
    images = torch.cat([inputs for inputs, _ in data])
    with torch.no_grad():
        maps = model(images)[:, [3, 1]]
    for row in range(2):
        best = maps[:, row].flatten(1).max(1)
        order = best.values.argsort(descending=True)[:5]
        assert found.examples[row].tolist() == order.tolist()
        np.testing.assert_allclose(found.activations[row], best.values[order], atol=1e-5)
        for slot, number in enumerate(order.tolist()):
            top, left = divmod(int(best.indices[number]), maps.shape[-1])
            assert found.positions[row, slot].tolist() == [top, left]
            patch = images[number, :, top : top + 7, left : left + 7].mul(255).round().byte().permute(1, 2, 0)
            np.testing.assert_array_equal(found.images[row, slot], patch.numpy())
    assert found.seen == 50
    assert found.note == ""


def test_a_planted_patch_is_found_and_shown() -> None:
    kernel = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(2))
    convolution = nn.Conv2d(3, 1, 5, bias=False)
    convolution.weight.data[0] = kernel
    model = nn.Sequential(convolution)
    data = batches()
    data[2][0][7, :, 4:9, 6:11] = (kernel > 0).float()
    found = exciting_patches(model, "0", 0, data, count=1)
    assert (found.examples[0, 0], *found.positions[0, 0]) == (39, 4, 6)
    np.testing.assert_array_equal(found.images[0, 0], (kernel > 0).mul(255).byte().permute(1, 2, 0).numpy())


def test_beyond_the_image_is_grey() -> None:
    convolution = nn.Conv2d(3, 1, 3, padding=1, bias=False)
    nn.init.ones_(convolution.weight)
    model = nn.Sequential(convolution)
    image = torch.zeros(1, 3, 6, 6)
    image[0, :, 0, 0] = 1
    found = exciting_patches(model, "0", [0], [(image, torch.zeros(1))], count=1)
    # Rows 0 and 1 see the bright pixel alike; the first of them looks beyond the border.
    assert found.positions[0, 0].tolist() == [0, 0]
    assert found.images[0, 0, :, :, 0].tolist() == [[128, 128, 128], [128, 255, 0], [128, 0, 0]]


def test_too_few_examples_leave_places_empty() -> None:
    found = exciting_patches(network(), "0", [0, 1], batches(3), count=5)
    assert found.examples[:, 3:].tolist() == [[-1, -1]] * 2
    assert np.isnan(found.activations[:, 3:]).all()
    assert (found.images[:, 3:] == 128).all()
    assert (np.sort(found.examples[:, :3], axis=1) == [0, 1, 2]).all()


def test_a_limit_and_what_is_not_finite() -> None:
    data = batches()
    data[0][0][4, 0, 0, 0] = float("nan")
    data[1][0][1] = 100  # the 18th
    told: list[tuple[int, int]] = []
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    found = exciting_patches(
        model, "0", [0], data, count=20, limit=17, progress=lambda done, total, _label: told.append((done, total))
    )
    assert found.seen == 17
    assert told == [(16, 17), (17, 17)]
    assert sorted(number for number in found.examples[0].tolist() if number >= 0) == list(range(17))
    assert np.isfinite(found.activations[0, :17]).all()


def test_normalisation_is_undone() -> None:
    data = open_data("scenes", limit=32)
    pixels = torch.cat([inputs for inputs, _ in data]).mul(255).round().byte()
    mean, deviation = torch.tensor(STATISTICS["imagenet"])[..., None, None]
    read = [((pixels / 255 - mean) / deviation, torch.zeros(32))]

    class Normalised(list):  # type: ignore[type-arg]
        normalization = "imagenet"

    found = exciting_patches(nn.Sequential(nn.Conv2d(3, 2, 3)), "0", [0, 1], Normalised(read), count=3)
    for row in range(2):
        number, (top, left) = found.examples[row, 0], found.positions[row, 0]
        expected = pixels[number, :, top : top + 3, left : left + 3].permute(1, 2, 0)
        np.testing.assert_array_equal(found.images[row, 0], expected.numpy())


def test_an_unknown_range_is_scaled_and_said() -> None:
    found = exciting_patches(network(), "0", [0], [(torch.randn(4, 3, 8, 8), torch.zeros(4))], count=2)
    assert "pixels are scaled from" in found.note
    assert found.images.min() < 100
    assert found.images.max() > 150


def test_layers_that_see_everything_show_whole_images() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    found = exciting_patches(model, "3", [0, 2], batches(), count=2)
    assert found.images.shape == (2, 2, 12, 12, 3)
    images = torch.cat([inputs for inputs, _ in batches()]).mul(255).round().byte()
    np.testing.assert_array_equal(found.images[0, 0], images[found.examples[0, 0]].permute(1, 2, 0).numpy())


def test_the_model_is_left_as_it_was() -> None:
    model = network().train()
    state = torch.get_rng_state()
    exciting_patches(model, "2", [0], batches(), count=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no unit 6"):
        exciting_patches(network(), "0", [6], batches())
    with pytest.raises(ValueError, match="count and limit are 1 or more"):
        exciting_patches(network(), "0", [0], batches(), count=0)
    with pytest.raises(SourceError, match="there is no batch"):
        exciting_patches(network(), "0", [0], [])
    with pytest.raises(SourceError, match="no images of one or three channels"):
        exciting_patches(network(), "0", [0], [(torch.zeros(2, 7), torch.zeros(2))])
    with pytest.raises(SourceError, match="no such layer; there is 0, 1, 2"):
        exciting_patches(network(), "2.conv", [0], batches())


@pytest.mark.reference
def test_an_edge_unit_finds_edges_in_real_images() -> None:
    if not CIFAR.is_dir():
        pytest.skip(f"real images are absent: no folder {CIFAR}")
    convolution = nn.Conv2d(3, 2, 5, bias=False)
    ramp = torch.tensor([-1.0, -1, 0, 1, 1]).expand(3, 5, 5)
    convolution.weight.data = torch.stack([ramp, ramp.transpose(1, 2)])
    model = nn.Sequential(convolution)
    data = open_data(f"cifar10:{CIFAR}?split=test&limit=500&normalize=cifar10")
    found = exciting_patches(model, "0", [0, 1], data, count=9)
    levels = found.images.astype(float).mean(-1)
    assert (levels[0, :, :, 3:].mean((1, 2)) - levels[0, :, :, :2].mean((1, 2))).min() > 100
    assert (levels[1, :, 3:].mean((1, 2)) - levels[1, :, :2].mean((1, 2))).min() > 100
