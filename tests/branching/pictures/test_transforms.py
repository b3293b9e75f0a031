from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.reference import pictures as slow
from weightatlas.branching.pictures.transforms import GREY, Robustness, moved_images


def test_resampling_agrees_with_a_pixel_at_a_time() -> None:
    size = 9
    moves = Robustness(rotate=40, scale=0.3).draw([5, 6], steps=1, size=size)[0]
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    fast = moved_images(images, moves)
    for image, move, found in zip(images, moves, fast, strict=True):
        expected = slow.moved(image[0].double().numpy(), move.double().numpy(), GREY)
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)


def test_no_move_leaves_images_as_they_are() -> None:
    still = Robustness(jitter=0, scale=0, rotate=0, jitter_after=0).draw([1], steps=3, size=16)
    images = torch.rand(1, 3, 16, 16)
    assert torch.allclose(moved_images(images, still[2]), images, atol=1e-6)


@pytest.mark.parametrize("jitter", [{"jitter": 8.0, "jitter_after": 0.0}, {"jitter": 0.0, "jitter_after": 8.0}])
def test_shifts_are_within_half_the_width_and_fill_it(jitter: dict[str, float]) -> None:
    size = 64
    moves = Robustness(scale=0, rotate=0, **jitter).draw([0], steps=2000, size=size)
    shifts = moves[:, 0, :, 2] * size / 2  # in pixels
    assert shifts.abs().max() <= 4
    assert shifts.min() == pytest.approx(-4, abs=0.05)
    assert shifts.max() == pytest.approx(4, abs=0.05)
    assert shifts.mean(0).abs().max() < 0.2


def test_angles_and_scales_are_within_their_bounds() -> None:
    moves = Robustness(rotate=10, scale=0.1).draw([0], steps=2000, size=64)[:, 0, :, :2]
    scales = 1 / torch.linalg.det(moves).sqrt()
    angles = torch.rad2deg(torch.atan2(moves[:, 1, 0], moves[:, 0, 0]))
    assert (float(scales.min()), float(scales.max())) == pytest.approx((0.9, 1.1), abs=0.002)
    assert (float(angles.min()), float(angles.max())) == pytest.approx((-10, 10), abs=0.1)


def test_an_image_has_the_same_moves_whichever_are_beside_it() -> None:
    alone = Robustness().draw([7], steps=4, size=32)
    among = Robustness().draw([1, 7, 2], steps=4, size=32)
    assert torch.equal(among[:, 1], alone[:, 0])
    assert not torch.equal(among[:, 0], among[:, 1])


@pytest.mark.parametrize("amount", [{"scale": 1.0}, {"jitter": -1.0}, {"rotate": math.inf}, {"jitter_after": math.nan}])
def test_amounts_that_mean_nothing_are_refused(amount: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Robustness(**amount)
