from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.data import Augmentation, ResidentFeed, SceneFeed, Scenes
from weightatlas.data.examples import held_in_memory
from weightatlas.data.masks import augmented
from weightatlas.data.streamed_feed import StreamedFeed
from weightatlas.errors import SourceError
from weightatlas.evaluation import feed_of, open_data

MOVING = st.builds(
    Augmentation,
    flip=st.booleans(),
    shift=st.integers(0, 3),
    crop=st.sampled_from([None, 5]),
    rotate=st.sampled_from(["none", "90"]),
)


def numbered(count: int = 4) -> torch.Tensor:
    """Images whose one channel numbers the pixels, so that it is its own mask."""
    return torch.arange(count * 8 * 8).reshape(count, 1, 8, 8)


@settings(deadline=None, max_examples=60)
@given(augmentation=MOVING, seed=st.integers(0, 10**6), training=st.booleans())
def test_a_pixel_keeps_its_class_wherever_it_goes(augmentation: Augmentation, seed: int, *, training: bool) -> None:
    images = numbered()
    draws = augmentation.draw(4, torch.Generator().manual_seed(seed)) if training else None
    moved, masks = augmented("made up", augmentation, images, images[:, 0], draws)
    assert torch.equal(moved[:, 0], masks)


@pytest.mark.parametrize("augmentation", [Augmentation(scale=(0.5, 1.0)), Augmentation(rotate="random")])
@pytest.mark.parametrize("training", [True, False])
def test_what_falls_between_pixels_is_refused(augmentation: Augmentation, *, training: bool) -> None:
    draws = augmentation.draw(4, torch.Generator().manual_seed(0)) if training else None
    with pytest.raises(SourceError, match="masks cannot be stretched or turned"):
        augmented("made up", augmentation, numbered().float(), numbered()[:, 0], draws)
    labels = torch.arange(4)
    assert augmented("made up", augmentation, numbered().float(), labels, draws)[1] is labels


def test_positions_that_are_no_pixels_cannot_be_moved() -> None:
    targets = torch.zeros(4, 3, dtype=torch.int64)
    with pytest.raises(SourceError, match="positions that are not those of the images"):
        augmented("made up", Augmentation(flip=True), numbered(), targets)
    assert augmented("made up", Augmentation(), numbered(), targets)[1] is targets


def test_feeds_move_masks_with_their_images() -> None:
    flips = Augmentation(flip=True, shift=2)
    images = numbered(16).to(torch.uint8).expand(16, 3, 8, 8)
    examples = held_in_memory("made up", images.contiguous(), images[:, 0].long())
    batches = [(images[:8].float() / 255, images[:8, 0].long()), (images[8:].float() / 255, images[8:, 0].long())]
    for feed in (
        ResidentFeed(examples, augmentation=flips),
        StreamedFeed(examples, augmentation=flips),
        feed_of(open_data(batches), augmentation=flips),
    ):
        for inputs, targets in (feed.batch(3, 8), *feed.in_order(5)):
            assert torch.equal((inputs[:, 0] * 255).round().long(), targets)
        assert not torch.equal(feed.batch(0, 16)[1], feed.batch(16, 16)[1])


def test_scenes_move_their_masks() -> None:
    scenes = Scenes("mask", batch=8, steps=2)
    plain, turned = SceneFeed(scenes), SceneFeed(scenes, augmentation=Augmentation(rotate="90"))
    (images, masks), (others, moved) = plain.batch(5, 8), turned.batch(5, 8)
    assert torch.equal(others, torch.rot90(images, dims=(2, 3)))
    assert torch.equal(moved, torch.rot90(masks, dims=(1, 2)))
    for (images, masks), (others, moved) in zip(plain.in_order(8), turned.in_order(8), strict=True):
        assert torch.equal(others, torch.rot90(images, dims=(2, 3)))
        assert torch.equal(moved, torch.rot90(masks, dims=(1, 2)))
