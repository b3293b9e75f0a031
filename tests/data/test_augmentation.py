from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.data import Augmentation
from weightatlas.data.augmentation import ANGLE, DOWN, DRAWS, FLIP, LEFT, RIGHT, TOP, UNCHANGED, Rotate


def draws(count: int, seed: int = 0, augmentation: Augmentation = UNCHANGED) -> torch.Tensor:
    return augmentation.draw(count, torch.Generator().manual_seed(seed))


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def one_by_one(augmentation: Augmentation, images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Cuts, flips, shifts and quarter turns, an image and a pixel at a time."""
    height, width = images.shape[2:]
    tall, wide = (height, width) if augmentation.crop is None else (augmentation.crop, augmentation.crop)
    answers = []
    for image, row in zip(images, drawn.tolist(), strict=True):
        top, left = int(row[TOP] * (height - tall + 1)), int(row[LEFT] * (width - wide + 1))
        steps = 2 * augmentation.shift + 1
        down, right = (int(row[place] * steps) - augmentation.shift for place in (DOWN, RIGHT))
        flip = augmentation.flip and row[FLIP] < 0.5
        answer = torch.empty(images.shape[1], tall, wide, dtype=images.dtype)
        for i in range(tall):
            for j in range(wide):
                column = wide - 1 - (j - right) if flip else j - right
                answer[:, i, j] = image[:, mirror(top + i - down, height), mirror(left + column, width)]
        if augmentation.rotate == "90":
            answer = answer.flip(2).transpose(1, 2)
        answers.append(answer)
    return torch.stack(answers)


def mirror(place: int, length: int) -> int:
    """Walk back from the outermost pixel, as at a mirror in its middle."""
    if place < 0:
        return -place
    return 2 * (length - 1) - place if place >= length else place


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(4, 7),
    width=st.integers(4, 7),
    flip=st.booleans(),
    shift=st.integers(0, 3),
    crop=st.none() | st.integers(1, 4),
    rotate=st.sampled_from(["none", "90"]),
    floats=st.booleans(),
    seed=st.integers(0, 99),
)
def test_exact_changes_are_those_of_an_image_and_a_pixel_at_a_time(  # noqa: PLR0917 - drawn by name
    height: int,
    width: int,
    flip: bool,
    shift: int,
    crop: int | None,
    rotate: Rotate,
    floats: bool,
    seed: int,
) -> None:
    augmentation = Augmentation(flip=flip, shift=shift, crop=crop, rotate=rotate)
    images = pictures(5, 2, height, width, seed=seed)
    images = images.double() / 7 if floats else images
    drawn = draws(5, seed)
    changed = augmentation.apply(images, drawn)
    assert torch.equal(changed, one_by_one(augmentation, images, drawn))
    assert changed.dtype == images.dtype
    assert tuple(changed.shape[1:]) == augmentation.shape_of((2, height, width))


def test_by_default_images_stay_as_they_are() -> None:
    images = pictures(3, 3, 4, 5)
    assert Augmentation().identity
    assert UNCHANGED.apply(images, draws(3)) is images
    assert UNCHANGED.fixed(images) is images
    assert UNCHANGED.shape_of((7,)) == (7,), "what is no image may stay so"
    assert not Augmentation(rotate="90").identity


@pytest.mark.parametrize("options", [{"flip": True, "shift": 1}, {"rotate": "random"}, {"scale": (0.3, 0.9)}])
def test_an_image_is_changed_alike_whatever_stands_beside_it(options: dict[str, Any]) -> None:
    augmentation = Augmentation(**options)
    images, drawn = pictures(6, 3, 8, 8), draws(6)
    together = augmentation.apply(images, drawn)
    apart = torch.cat([augmentation.apply(images[part], drawn[part]) for part in (slice(0, 2), slice(2, 6))])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("scale", [None, (0.2, 0.8)])
def test_the_quarter_turn_comes_last_and_leaves_the_other_changes_as_drawn(scale: tuple[float, float] | None) -> None:
    images, drawn = pictures(8, 3, 6, 9), draws(8)
    upright = Augmentation(flip=True, shift=2, scale=scale).apply(images, drawn)
    turned = Augmentation(flip=True, shift=2, scale=scale, rotate="90").apply(images, drawn)
    assert torch.equal(turned, torch.rot90(upright, dims=(2, 3)))


def test_a_turn_is_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 0, 2] = 1
    quarter = draws(1)
    quarter[:, ANGLE] = 1 / 4
    for turned in (Augmentation(rotate="90").fixed(image), Augmentation(rotate="random").apply(image, quarter)):
        assert int(turned.round().flatten().argmax()) == 2 * 5, "what was on top is on the left"


def test_in_evaluation_the_middle_is_cut_out_and_only_the_quarter_turn_stays() -> None:
    images = pictures(3, 3, 8, 6)
    augmentation = Augmentation(flip=True, shift=2, scale=(0.5, 1), crop=4)
    assert torch.equal(augmentation.fixed(images), images[:, :, 2:6, 1:5])
    turned = Augmentation(flip=True, crop=4, rotate="90").fixed(images)
    assert torch.equal(turned, torch.rot90(images[:, :, 2:6, 1:5], dims=(2, 3)))
    assert torch.equal(Augmentation(rotate="random", scale=(0.1, 1)).fixed(images), images)


def test_flips_are_half_of_all_and_shifts_uniform_and_independent() -> None:
    count = 20_000
    marked = torch.zeros(count, 1, 9, 9, dtype=torch.uint8)
    marked[:, :, 4, 3] = 1
    places = Augmentation(flip=True, shift=1).apply(marked, draws(count)).flatten(1).long().argmax(dim=1)
    # The mark is left or right of the middle, then moves by one of nine steps.
    expected = torch.zeros(9, 9)
    for column in (3, 5):
        expected[3:6, column - 1 : column + 2] += count / 18
    counts = torch.bincount(places, minlength=81).reshape(9, 9)
    assert int(counts[expected == 0].sum()) == 0
    seen = expected > 0
    chi_squared = float(((counts[seen] - expected[seen]).square() / expected[seen]).sum())
    assert chi_squared < 36.1, "14 degrees of freedom, p = .001"


def test_crops_lie_anywhere_with_the_same_probability() -> None:
    count = 9000
    images = torch.arange(16).reshape(1, 1, 4, 4).expand(count, -1, -1, -1)
    corners = Augmentation(crop=2).apply(images, draws(count))[:, 0, 0, 0]
    counts = torch.bincount(corners, minlength=16)[[0, 1, 2, 4, 5, 6, 8, 9, 10]]
    assert int(counts.sum()) == count
    assert float(((counts - 1000).square() / 1000).sum()) < 26.1, "8 degrees of freedom, p = .001"


def test_a_resized_crop_has_the_area_and_aspect_asked_for_and_lies_inside() -> None:
    # Pictures of their own coordinates tell where each pixel was read.
    rows, columns = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing="ij")
    images = torch.stack([rows, columns]).expand(500, -1, -1, -1)
    read = Augmentation(scale=(0.1, 0.5), crop=100).apply(images, draws(500))
    along, across = (read[:, 0, -1, 0] - read[:, 0, 0, 0]) / 99 * 100, (read[:, 1, 0, -1] - read[:, 1, 0, 0]) / 99 * 100
    area, aspect = along * across / 200**2, across / along
    assert float(area.min()) >= 0.099
    assert float(area.max()) <= 0.501
    assert float(aspect.min()) >= 0.74
    assert float(aspect.max()) <= 4 / 3 + 0.01
    assert float(area.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(aspect.log().mean()) == pytest.approx(0, abs=0.02)
    assert float(read.min()) >= -0.5
    assert float(read.max()) <= 199.5


def test_random_turns_are_uniform_on_the_circle() -> None:
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    images = torch.stack([rows, columns]).expand(4000, -1, -1, -1)
    read = Augmentation(rotate="random").apply(images, draws(4000))
    # Near the middle nothing is reflected: the place that is read is the place turned.
    down, right = (read[:, axis, 20, 30] - 20 for axis in (0, 1))
    assert torch.allclose(down.hypot(right), torch.full((4000,), 10.0), atol=1e-3)
    angles = torch.atan2(down, right) / (2 * math.pi) % 1
    counts = torch.histc(angles, bins=10, min=0, max=1)
    assert float(((counts - 400).square() / 400).sum()) < 27.9, "9 degrees of freedom, p = .001"
    still = read[:, :, 20, 20]
    assert torch.allclose(still, torch.full_like(still, 20.0), atol=1e-3)


def test_a_turned_image_has_no_borders_of_its_own() -> None:
    images = torch.full((50, 3, 9, 9), 7, dtype=torch.uint8)
    assert torch.equal(Augmentation(rotate="random", shift=3).apply(images, draws(50)), images)


def test_as_many_numbers_are_drawn_whatever_is_done() -> None:
    drawn = draws(5)
    assert drawn.shape == (5, DRAWS)
    assert torch.equal(drawn, draws(5, augmentation=Augmentation(flip=True, scale=(0.5, 1), rotate="random")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flip": 1}, "flip must be true or false, not 1"),
        ({"shift": -1}, "shift must be a whole number of pixels, 0 or more, not -1"),
        ({"shift": 1.5}, "shift must be"),
        ({"crop": 0}, "crop must be a whole number of pixels, 1 or more, not 0"),
        ({"crop": True}, "crop must be"),
        ({"scale": (0, 1)}, "scale must be two rising shares"),
        ({"scale": (0.5, 1.1)}, "scale must be"),
        ({"scale": (0.9, 0.5)}, "scale must be"),
        ({"scale": (0.5,)}, "scale must be"),
        ({"scale": ()}, "scale must be"),
        ({"rotate": "45"}, "rotate must be one of none, 90, random, not '45'"),
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Augmentation(**options)


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"flip": True}, (5,), "are no images"),
        ({"crop": 9}, (3, 8, 20), "no crop of 9 pixels"),
        ({"shift": 8}, (3, 20, 8), "a shift of 8 pixels needs larger images"),
    ],
)
def test_images_that_cannot_be_changed_so_are_refused(
    options: dict[str, Any], shape: tuple[int, ...], words: str
) -> None:
    augmentation = Augmentation(**options)
    for call in (
        lambda: augmentation.shape_of(shape),
        lambda: augmentation.fixed(torch.zeros(2, *shape)),
        lambda: augmentation.apply(torch.zeros(2, *shape), draws(2)),
    ):
        with pytest.raises(ValueError, match=words):
            call()
