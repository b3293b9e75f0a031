from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.feeds import assert_one_sequence
from weightatlas.data import Augmentation, SceneFeed, Scenes
from weightatlas.errors import SourceError

SCENES = Scenes("top", size=12, batch=8, steps=3, seed=7)


@settings(deadline=None, max_examples=30)
@given(
    start=st.integers(0, 10**6),
    size=st.integers(1, 40),
    cuts=st.lists(st.integers(1, 40), max_size=3),
    ranks=st.integers(1, 5),
)
def test_the_stream_is_one_sequence_however_it_is_cut(start: int, size: int, cuts: list[int], ranks: int) -> None:
    feed = SceneFeed(SCENES, augmentation=Augmentation(flip=True))
    assert_one_sequence(feed, start=start, size=size, cuts=cuts, ranks=ranks)


def test_its_stream_is_that_of_the_scenes_and_goes_on() -> None:
    feed = SceneFeed(SCENES)
    for number, (images, targets) in enumerate(replace(SCENES, steps=5)):
        inputs, labels = feed.batch(8 * number, 8)
        assert torch.equal(inputs, images)
        assert torch.equal(labels, targets)


def test_in_order_it_is_one_pass_with_the_fixed_changes_only() -> None:
    images = torch.cat([images for images, _ in SCENES])
    feed = SceneFeed(SCENES, augmentation=Augmentation(flip=True, rotate="90"))
    batches = list(feed.in_order(10))
    assert [len(targets) for _, targets in batches] == [10, 10, 4]
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), torch.rot90(images, dims=(2, 3)))
    assert sum(len(targets) for _, targets in SceneFeed(SCENES, limit=13).in_order(5)) == 13
    assert [len(targets) for _, targets in SceneFeed(SCENES, limit=13).in_order(5, at_most=7)] == [5, 2]


def test_it_says_what_it_is_and_its_fingerprint_is_that_of_its_fields() -> None:
    feed = SceneFeed(SCENES)
    assert (feed.name, feed.shape, feed.classes, feed.examples) == ("scenes", (3, 12, 12), 4, None)
    assert (feed.notes, feed.skipped) == ((), ())
    assert feed.fingerprint() == SceneFeed(replace(SCENES, steps=99)).fingerprint(), "the stream is the same"
    changes = ({"seed": 8}, {"label": "left"}, {"size": 13}, {"batch": 9}, {"split": "held-out"})
    others = [SceneFeed(replace(SCENES, **change)).fingerprint() for change in changes]
    assert len({feed.fingerprint(), *others}) == 6


def test_the_augmentation_has_the_scenes_seed_or_one_of_its_own() -> None:
    changes = Augmentation(flip=True)
    own, same, other = (SceneFeed(SCENES, augmentation=changes, seed=seed).batch(0, 64)[0] for seed in (None, 7, 8))
    assert torch.equal(own, same)
    assert not torch.equal(own, other)


def test_scenes_that_are_too_small_for_a_crop_are_said() -> None:
    with pytest.raises(SourceError, match="scenes: no crop of 20 pixels"):
        SceneFeed(SCENES, augmentation=Augmentation(crop=20))
