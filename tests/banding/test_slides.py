from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.reference.nmf import one_sided, scikit_learn_nmf
from weightatlas.banding.score import score_slides
from weightatlas.banding.slides import similarity_order, slides

if TYPE_CHECKING:
    from pathlib import Path

# |Spearman| of our order with the published order of the images, a little below what is measured.
ORDERS = {
    "Simplified-Base|v0/v1/5b/weights/read": 0.99,
    "Simplified-90deg|v0/v1/5b/weights/read": 0.98,
    "Simplified-fc-only|v0/v1/5b/weights/read": 0.97,
    "Simplified-x-avgpool|v0/v1/5a/weights/read": 0.83,
    "Simplified-x-avgpool|v0/v1/5b/weights/read": 0.99,
    "InceptionV1 - modelzoo|mixed5b_5x5_w": 0.99,
    "InceptionV1 - baseline|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read": 0.99,
    "InceptionV1 - 90deg|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read": 0.97,
    "InceptionV1 - fc-only|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read": 0.97,
}


def banded_weight(units: int = 40, channels: int = 24, side: int = 5) -> np.ndarray:
    """Each channel's kernel is bright in one third of the rows, with noise."""
    rng = np.random.default_rng(0)
    thirds = np.arange(side) * 3 // side
    profiles = (thirds == rng.integers(0, 3, (units, channels, 1))) * rng.uniform(-1, 1, (units, channels, 1))
    return np.repeat(profiles[..., None], side, axis=3) + 0.05 * rng.standard_normal((units, channels, side, side))


def test_bands_are_drawn_red_green_blue_from_the_top() -> None:
    images = slides(banded_weight()).images
    rows = images.mean(axis=(0, 2))
    assert rows[0].argmax() == 0
    assert rows[2].argmax() == 1
    assert rows[4].argmax() == 2
    assert score_slides(images).score > 0.9


def test_a_turned_kernel_flips_the_score() -> None:
    upright, turned = slides(banded_weight()), slides(np.rot90(banded_weight(), axes=(2, 3)).copy())
    assert score_slides(turned.factors).score == pytest.approx(-score_slides(upright.factors).score, abs=0.01)


def test_factors_are_scikit_learns_in_another_order() -> None:
    weight = banded_weight()
    spatial, _, error, _ = scikit_learn_nmf(one_sided(weight.reshape(40, 24, 25)))
    found = slides(weight)
    ours = np.sort(found.factors.reshape(40, 25, 3).sum(axis=1), axis=1)
    np.testing.assert_allclose(ours, np.sort(spatial.sum(axis=1), axis=1), rtol=0.01)
    np.testing.assert_allclose(found.error, error / np.linalg.norm(weight.reshape(40, -1), axis=1), rtol=1e-3)


def test_each_unit_is_scaled_to_its_own_maximum() -> None:
    found = slides(np.random.default_rng(0).standard_normal((20, 8, 3, 3)))
    np.testing.assert_array_equal(found.images.max(axis=(1, 2, 3)), 255)
    peaks = found.factors.max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(found.images, 255 * found.factors / peaks, atol=0.51)


@pytest.mark.parametrize("factors", [1, 2, 4, 6])
def test_other_numbers_of_factors_draw_the_first_three(factors: int) -> None:
    found = slides(np.random.default_rng(0).standard_normal((20, 8, 3, 3)), factors=factors)
    assert found.factors.shape == (20, 3, 3, factors)
    assert found.images.shape == (20, 3, 3, 3)
    assert not found.images[..., factors:].any()
    assert found.images[..., : min(factors, 3)].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_torch_tensors_of_any_float_are_taken(dtype: torch.dtype) -> None:
    weight = torch.from_numpy(banded_weight()).to(dtype)
    np.testing.assert_array_equal(slides(weight).images, slides(weight.float().numpy()).images)


@pytest.mark.parametrize("shape", [(12, 4, 1, 3), (12, 4, 3, 1), (12, 4, 2, 5), (12, 2, 7, 7)])
def test_kernels_need_not_be_square(shape: tuple[int, ...]) -> None:
    found = slides(np.random.default_rng(0).standard_normal(shape))
    assert found.factors.shape == (12, *shape[2:], 3)


def test_a_unit_without_weights_is_black_and_in_the_order() -> None:
    weight = banded_weight()
    weight[3] = 0
    found = slides(weight)
    assert not found.images[3].any()
    assert found.error[3] == 0
    np.testing.assert_array_equal(np.sort(found.order), np.arange(40))


def test_the_order_puts_like_beside_like() -> None:
    rng = np.random.default_rng(0)
    place = rng.random(60)
    maps = place[:, None] * np.array([1.0, 0, 0, 0]) + (1 - place[:, None]) * np.array([0, 0, 0, 1.0])
    order = similarity_order(maps.reshape(60, 2, 2, 1))
    assert abs(spearmanr(place[order], np.arange(60)).statistic) == pytest.approx(1)


def test_permuting_units_permutes_the_slides() -> None:
    weight = banded_weight()
    order = np.random.default_rng(2).permutation(len(weight))
    np.testing.assert_array_equal(slides(weight[order]).images, slides(weight).images[order])


@pytest.mark.parametrize("side", [3, 5])
def test_noise_has_no_bands(side: int) -> None:
    found = slides(np.random.default_rng(0).standard_normal((3000, 24, side, side)))
    assert score_slides(found.factors, flips=99).score == pytest.approx(0, abs=0.015)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((4, 8, 1, 1)), "have 1 factors at most"),
        (np.ones((4, 1, 3, 3)), "have 2 factors at most"),
        (np.ones((4, 8)), "out, in, h, w"),
        (np.full((4, 8, 3, 3), np.nan), "NaN"),
        (np.ones((0, 8, 3, 3)), "no elements"),
    ],
)
def test_what_has_no_slides_is_refused(weight: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slides(weight)


@pytest.mark.reference
@pytest.mark.parametrize("name", ORDERS)
def test_published_images_stand_in_our_order(reference: Path, name: str) -> None:
    with np.load(reference / "distill" / "weight_banding_slides.npz") as published:
        rank = np.argsort(similarity_order(published[name]))
    assert abs(spearmanr(rank, np.arange(len(rank))).statistic) >= ORDERS[name]


@pytest.mark.reference
@pytest.mark.parametrize(
    ("layer", "expected", "margin"),
    [("fire3", 0, 0.05), ("fire6", 0, 0.05), ("fire8", 0.5, 0.07), ("fire9", 0.78, 0.03)],
)
def test_squeezenet_bands_before_its_pool(reference: Path, layer: str, expected: float, margin: float) -> None:
    with np.load(reference / "squeezenet" / "squeezenet_v1.1_notop.npz") as weights:
        found = slides(weights[f"{layer}/expand3x3.weight"])
    assert score_slides(found.factors, flips=99).score == pytest.approx(expected, abs=margin)


@pytest.mark.reference
def test_the_last_layer_of_a_cifar_network_bands(reference: Path) -> None:
    saved = torch.load(reference / "cifar_resnets" / "resnet56-4bfd9763.th", weights_only=True, map_location="cpu")
    found = slides(saved["state_dict"]["module.layer3.8.conv2.weight"])
    assert score_slides(found.factors, flips=99).score == pytest.approx(0.67, abs=0.05)
