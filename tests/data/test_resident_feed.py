from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.feeds import IMAGES, LABELS, PIXELS, assert_one_sequence, partly
from weightatlas.data import Augmentation, ResidentFeed, normalised
from weightatlas.data.examples import held_in_memory
from weightatlas.errors import SourceError

BUSY = Augmentation(flip=True, shift=2, rotate="90")


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(-3, 3),
    start=st.integers(0, 5000),
    size=st.integers(1, 60),
    cuts=st.lists(st.integers(1, 60), max_size=3),
    ranks=st.integers(1, 5),
)
def test_the_stream_is_one_sequence_however_it_is_cut(
    seed: int, start: int, size: int, cuts: list[int], ranks: int
) -> None:
    feed = ResidentFeed(IMAGES, augmentation=BUSY, normalization="half", seed=seed, workers=1)
    assert_one_sequence(feed, start=start, size=size, cuts=cuts, ranks=ranks)


def test_every_pass_has_every_example_once_with_its_target() -> None:
    feed = ResidentFeed(IMAGES, seed=2)
    order = {pixels.numpy().tobytes(): number for number, pixels in enumerate(normalised(PIXELS))}
    for start in (0, 23, 230):
        inputs, targets = feed.batch(start, 23)
        numbers = [order[image.numpy().tobytes()] for image in inputs]
        assert sorted(numbers) == list(range(23))
        assert torch.equal(targets, LABELS[numbers])


def test_a_batch_is_the_examples_augmented_and_then_normalised() -> None:
    plain, _ = ResidentFeed(IMAGES, seed=2).batch(5, 8)
    turned, _ = ResidentFeed(IMAGES, seed=2, augmentation=Augmentation(rotate="90"), normalization="half").batch(5, 8)
    assert torch.allclose(turned, torch.rot90(plain, dims=(2, 3)) * 2 - 1, atol=1e-6)


def test_in_order_every_example_comes_once_with_the_fixed_changes_only() -> None:
    feed = ResidentFeed(IMAGES, augmentation=BUSY, normalization="half")
    batches = list(feed.in_order(10))
    assert [len(targets) for _, targets in batches] == [10, 10, 3]
    assert torch.equal(torch.cat([targets for _, targets in batches]), LABELS)
    expected = normalised(torch.rot90(PIXELS, dims=(2, 3)), "half")
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), expected)


def test_a_sample_in_order_is_spread_evenly_over_the_data() -> None:
    feed = ResidentFeed(IMAGES)
    batches = list(feed.in_order(4, at_most=8))
    assert [len(targets) for _, targets in batches] == [4, 4]
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), normalised(PIXELS[::3]))
    assert torch.equal(torch.cat([targets for _, targets in batches]), LABELS[::3])
    assert sum(len(targets) for _, targets in feed.in_order(4, at_most=1000)) == 23


def test_it_says_what_it_is() -> None:
    feed = ResidentFeed(IMAGES, augmentation=BUSY)
    assert (feed.name, feed.shape, feed.classes, feed.examples) == ("images", (3, 5, 6), 4, 23)
    assert (feed.notes, feed.skipped) == ((), ())


def test_what_cannot_be_read_is_dropped_and_listed() -> None:
    feed = ResidentFeed(partly({2, 3, 5, 7}))
    assert feed.examples == 4
    assert len(feed.skipped) == 19
    _, targets = feed.batch(0, 4)
    assert sorted(targets.tolist()) == sorted(LABELS[[2, 3, 5, 7]].tolist())
    assert [targets.tolist() for _, targets in feed.in_order(9)] == [LABELS[[2, 3, 5, 7]].tolist()]
    with pytest.raises(SourceError, match="partly: none of its examples can be read"):
        ResidentFeed(partly(set()))


def test_a_limit_takes_the_first_examples_and_leaves_the_classes() -> None:
    feed = ResidentFeed(held_in_memory("x", PIXELS, torch.arange(23)), limit=6)
    assert feed.examples == 6
    assert feed.classes == 23
    assert sorted(feed.batch(0, 6)[1].tolist()) == list(range(6))
    assert feed.fingerprint() != ResidentFeed(held_in_memory("x", PIXELS, torch.arange(23))).fingerprint()


def test_features_and_other_targets_pass_as_they_are() -> None:
    features = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    feed = ResidentFeed(held_in_memory("x", features, features[:, 0]))
    inputs, targets = feed.batch(0, 4)
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs[:, 0].double(), targets)
    assert feed.classes is None
    with pytest.raises(SourceError, match="are no images"):
        ResidentFeed(held_in_memory("x", features, features[:, 0]), augmentation=BUSY)


def test_threads_read_the_same_and_global_randomness_is_left_alone() -> None:
    many = held_in_memory("many", PIXELS.repeat(100, 1, 1, 1), LABELS.repeat(100))
    before = torch.random.get_rng_state()
    one, four = (ResidentFeed(many, workers=workers) for workers in (1, 4))
    inputs, targets = one.batch(0, 2300)
    assert torch.equal(inputs, four.batch(0, 2300)[0])
    assert torch.equal(targets, four.batch(0, 2300)[1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_examples_that_do_not_fit_are_said_before_they_are_read() -> None:
    huge = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(2**20, 3, 2**20, 2**20)
    examples = held_in_memory("huge", huge[:, :, :1, :1], torch.zeros(2**20, dtype=torch.int64))
    examples = type(examples)("huge", examples.fetch, examples.targets, (3, 2**20, 2**20), skipped=[])
    with pytest.raises(SourceError, match=r"huge: its 1048576 inputs take 3221225472\.0 GiB, more than cpu has left"):
        ResidentFeed(examples, workers=1)
