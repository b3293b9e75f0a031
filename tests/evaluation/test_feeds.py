from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.feeds import assert_one_sequence
from tests.data.pictures import encoded, pixels
from weightatlas.data import Augmentation, ResidentFeed, SceneFeed, Scenes, StreamedFeed, normalised
from weightatlas.errors import SourceError
from weightatlas.evaluation import feed_of, feeds, open_data
from weightatlas.evaluation.batches import Data, passed_through
from weightatlas.evaluation.feeds import BatchesFeed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INPUTS, TARGETS = torch.arange(11.0).reshape(11, 1).expand(11, 2), torch.arange(11)
SIZES = (3, 4, 4)


def cut() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(INPUTS.split(SIZES), TARGETS.split(SIZES), strict=True))  # type: ignore[no-untyped-call]


def own(augmentation: Augmentation | None = None) -> BatchesFeed:
    return BatchesFeed(passed_through("mine", cut()), augmentation=augmentation or Augmentation())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        path = tmp_path / "photos" / ("dog" if number % 2 else "cat") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(number)))
    return tmp_path / "photos"


@pytest.mark.parametrize("resident", [True, False])
def test_what_data_were_opened_with_carries_over(folder: Path, *, resident: bool) -> None:
    data = open_data(f"{folder}?size=6&normalize=imagenet&limit=5")
    feed = feed_of(data, augmentation=Augmentation(rotate="90"), seed=2, resident=resident)
    assert isinstance(feed, ResidentFeed if resident else StreamedFeed)
    assert (feed.name, feed.shape, feed.classes, feed.examples) == (str(folder), (3, 6, 6), 2, 5)
    ((inputs, targets),) = feed.in_order(5)
    ((expected, labels),) = data
    assert torch.equal(inputs, torch.rot90(expected, dims=(2, 3)))
    assert torch.equal(targets, labels)
    assert_one_sequence(feed, start=7, size=9, cuts=[4], ranks=2)


def test_a_broken_image_is_dropped_when_loaded_or_left_out_in_order(folder: Path) -> None:
    (folder / "cat" / "2.png").write_bytes(b"broken")
    for resident in (True, False):
        feed = feed_of(open_data(folder), resident=resident)
        assert sum(len(targets) for _, targets in feed.in_order(4)) == 5
        assert [skipped.name for skipped in feed.skipped] == ["cat/2.png"]


def test_small_data_are_held_and_large_ones_streamed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(folder)
    assert isinstance(feed_of(data), ResidentFeed)
    monkeypatch.setattr(feeds, "RESIDENT", 6 * 3 * 8 * 8 - 1)
    assert isinstance(feed_of(data), StreamedFeed)
    monkeypatch.setattr(feeds, "RESIDENT", 6 * 3 * 8 * 8)
    assert isinstance(feed_of(data), ResidentFeed)


def test_an_archive_of_features_becomes_a_feed(tmp_path: Path) -> None:
    np.savez(tmp_path / "features.npz", inputs=np.ones((6, 5)), targets=np.arange(6) / 2)
    feed = feed_of(open_data(tmp_path / "features.npz"))
    assert (feed.shape, feed.classes) == ((5,), None)
    assert feed.batch(0, 6)[0].dtype == torch.float32


def test_scenes_keep_their_seed_split_and_limit() -> None:
    feed = feed_of(open_data("scenes?label=left&difficulty=hard&size=12&split=test&limit=70", seed=9), seed=1)
    assert isinstance(feed, SceneFeed)
    scenes = Scenes("left", size=12, seed=9, split="held-out", difficulty="hard")
    assert torch.equal(feed.batch(64, 64)[0], scenes.drawn(1)[0])
    assert sum(len(targets) for _, targets in feed.in_order(64)) == 70
    assert feed.name == "scenes"


@settings(deadline=None, max_examples=40)
@given(asked=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=5))
def test_the_users_batches_are_an_endless_row_that_is_cut_anew(asked: list[tuple[int, int]]) -> None:
    feed = own()
    for start, size in asked:
        inputs, targets = feed.batch(start, size)
        assert targets.tolist() == [place % 11 for place in range(start, start + size)]
        assert torch.equal(inputs[:, 0], targets.float())


def test_the_users_batches_in_order_are_one_pass() -> None:
    feed = own()
    feed.batch(5, 3)
    assert [targets.tolist() for _, targets in feed.in_order(6)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert [targets.tolist() for _, targets in feed.in_order(6, at_most=7)] == [[0, 1, 2, 3, 4, 5], [6]]
    assert feed.batch(8, 2)[1].tolist() == [8, 9], "a pass in between does not disturb the stream"
    assert (feed.name, feed.shape, feed.classes, feed.examples) == ("mine", (2,), None, None)


def test_the_users_images_are_augmented_and_bytes_are_scaled() -> None:
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    turn = Augmentation(rotate="90")
    for inputs in (images, images.double() / 255):
        feed = feed_of(open_data([(inputs, torch.arange(5))]), augmentation=turn)
        given, _ = feed.batch(0, 5)
        assert given.dtype == torch.float32
        assert torch.allclose(given, torch.rot90(normalised(images), dims=(2, 3)))
        assert torch.equal(next(iter(feed.in_order(5)))[0], given)
    words = feed_of(open_data([(torch.arange(6).reshape(2, 3), torch.arange(2))]))
    assert words.batch(0, 2)[0].dtype == torch.int64, "numbers of words stay whole"
    with pytest.raises(SourceError, match=r"mine: inputs of shape .* are no images"):
        own(turn)


def test_the_users_batches_are_for_one_process() -> None:
    with pytest.raises(SourceError, match=r"mine: 2 processes cannot share .*; give a folder"):
        own().batch(0, 8, rank=1, ranks=2)


def test_a_pass_without_batches_is_an_error_and_not_an_endless_loop() -> None:
    passes = iter([cut(), cut()])

    def again() -> list[Any]:
        return next(passes, [])

    feed = feed_of(passed_through("mine", iter(cut()), again=again))
    with pytest.raises(SourceError, match="mine: pass 2 has no example"):
        feed.batch(8, 8)


def test_a_fingerprint_of_the_users_batches_needs_their_beginning_only() -> None:
    taken = []

    def again() -> Iterator[Any]:
        for number in range(100):
            taken.append(number)
            yield torch.full((30, 2), float(number)), torch.zeros(30)

    feed = feed_of(passed_through("mine", again(), again=again))
    taken.clear()
    digest = feed.fingerprint()
    assert taken == [0, 1, 2]
    assert digest == feed.fingerprint()
    assert digest != own().fingerprint()


def test_data_of_another_kind_say_what_they_are_made_of() -> None:
    plain = open_data(cut())
    assert isinstance(plain, Data)
    assert (plain.material, plain.limit, plain.normalization) == (None, None, "none")


def test_batches_without_examples_are_no_endless_loop_either() -> None:
    feed = feed_of(passed_through("mine", [(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))]))
    with pytest.raises(SourceError, match="mine: pass 1 has no example"):
        feed.batch(0, 1)
