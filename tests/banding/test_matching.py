from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.reference.nmf import best_permutation
from weightatlas.banding.matching import match_factors

if TYPE_CHECKING:
    from pathlib import Path


def shuffled(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each unit's factors in a random order of its own."""
    units, _, _, count = images.shape
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (units, 1)), axis=1)
    return np.take_along_axis(images, order[:, None, None, :], axis=3)


def bands(units: int = 50, side: int = 5, count: int = 3, noise: float = 0.3) -> np.ndarray:
    """Factor r is bright in its own stretch of rows, from the top down."""
    layout = np.zeros((side, side, count))
    layout[np.arange(side), :, np.arange(side) * count // side] = 1
    return layout + noise * np.random.default_rng(1).random((units, *layout.shape))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_shuffled_bands_come_back_from_the_top_down(count: int) -> None:
    images = bands(side=6, count=count)
    np.testing.assert_array_equal(match_factors(shuffled(images)), images)


def test_bands_that_run_down_come_back_from_left_to_right() -> None:
    images = bands().swapaxes(1, 2)
    np.testing.assert_array_equal(match_factors(shuffled(images)), images)


@pytest.mark.parametrize("count", [3, 6])
def test_each_unit_stands_as_near_to_the_layout_as_it_can(count: int) -> None:
    factors = np.random.default_rng(0).random((30, 3, 3, count))
    matched = match_factors(factors).reshape(30, 9, count)
    shapes = matched / np.linalg.norm(matched, axis=1, keepdims=True)
    layout = shapes.mean(axis=0)
    assert all(best_permutation(unit, layout) == tuple(range(count)) for unit in shapes)


def test_the_answer_does_not_hang_on_the_order_given() -> None:
    images = bands(noise=1.0)
    np.testing.assert_array_equal(match_factors(shuffled(images, 1)), match_factors(shuffled(images, 2)))


def test_scale_of_a_unit_or_a_factor_does_not_matter_and_is_kept() -> None:
    images = bands()
    scales = np.random.default_rng(0).uniform(0.1, 10, (50, 1, 1, 3))
    np.testing.assert_array_equal(match_factors(images * scales), images * scales)


def test_units_without_weights_stay_black() -> None:
    images = bands()
    images[7] = 0
    matched = match_factors(shuffled(images))
    np.testing.assert_array_equal(matched, images)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("Simplified-Base|v0/v1/5b/weights/read", 0.99),
        ("Simplified-90deg|v0/v1/5b/weights/read", 0.99),
        ("InceptionV1 - modelzoo|mixed5b_5x5_w", 0.99),
        ("InceptionV1 - baseline|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read", 0.97),
        ("Simplified-x-avgpool|v0/v1/5a/weights/read", 0.9),
        ("InceptionV1 - 90deg|v0/v1/InceptionV1/Mixed_5c/Branch_2/Conv2d_0b_5x5/weights/read", 0.9),
    ],
)
def test_published_colours_are_recovered_in_banded_layers(reference: Path, name: str, least: float) -> None:
    with np.load(reference / "distill" / "weight_banding_slides.npz") as slides:
        published = slides[name]
    matched = match_factors(shuffled(published))
    # Which colour is on top differs between the article's layers: agreement up to one order for the whole layer.
    agreement = max(
        np.mean((matched == published[..., list(order)]).all(axis=(1, 2, 3))) for order in permutations(range(3))
    )
    assert agreement >= least
