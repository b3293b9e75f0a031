from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from weightatlas.branching.pictures.kernels import kernel_images

if TYPE_CHECKING:
    from pathlib import Path

WEIGHT = np.random.default_rng(0).normal(size=(6, 3, 5, 4))


def test_each_unit_is_scaled_by_its_own_largest_weight() -> None:
    images = kernel_images(WEIGHT)
    assert images.shape == (6, 5, 4, 3)
    assert images.dtype == np.uint8
    for unit, image in zip(WEIGHT, images, strict=True):
        expected = 128 + 127 * unit / np.abs(unit).max()
        assert np.abs(image.transpose(2, 0, 1) - expected).max() <= 0.5
        assert {int(image.max()), int(image.min())} & {1, 255}


def test_scale_does_not_matter_and_sign_mirrors_about_grey() -> None:
    images = kernel_images(torch.from_numpy(WEIGHT))
    np.testing.assert_array_equal(kernel_images(WEIGHT * 1e-30), images)
    assert np.abs(256 - kernel_images(-WEIGHT).astype(int) - images).max() <= 1


def test_one_channel_is_grey() -> None:
    images = kernel_images(WEIGHT[:, :1])
    assert (images == images[..., :1]).all()
    np.testing.assert_array_equal(images, kernel_images(np.repeat(WEIGHT[:, :1], 3, axis=1)))


def test_units_without_a_scale_are_grey() -> None:
    weight = WEIGHT.copy()
    weight[1], weight[2, 0, 0, 0], weight[3, 1, 1, 1] = 0, np.nan, np.inf
    images = kernel_images(weight)
    assert (images[1:4] == 128).all()
    np.testing.assert_array_equal(images[4:], kernel_images(WEIGHT)[4:])


def test_half_precision_is_drawn() -> None:
    weight = torch.from_numpy(WEIGHT).to(torch.bfloat16)
    np.testing.assert_array_equal(kernel_images(weight), kernel_images(weight.double()))


@pytest.mark.parametrize("size", [5, 10, 13])
def test_enlarged_images_are_blocks(size: int) -> None:
    small, large = kernel_images(WEIGHT), kernel_images(WEIGHT, size=size)
    height, width = size, 4 * size // 5
    assert large.shape == (6, height, width, 3)
    for row, column in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        np.testing.assert_array_equal(large[:, row, column], small[:, row * 5 // height, column * 4 // width])


@pytest.mark.parametrize("weight", [np.zeros((4, 2, 3, 3)), np.zeros((4, 3, 3)), np.zeros((0, 3, 3, 3))])
def test_what_reads_no_image_is_refused(weight: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=r"\(units, 3 or 1, h, w\)"):
        kernel_images(weight)


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 5 or more"):
        kernel_images(WEIGHT, size=4)


@pytest.mark.reference
def test_the_articles_filters_come_out_as_it_drew_them(reference: Path) -> None:
    filters = np.load(reference / "distill" / "distill_slim_inceptionv1_conv1_64x7x7x3.npy")
    images = kernel_images(filters.transpose(0, 3, 1, 2))
    saturation = (images.max(-1).astype(int) - images.min(-1)).mean((1, 2))
    assert saturation[:35].mean() * 2 < saturation[35:].mean()  # the first 35 are black and white
