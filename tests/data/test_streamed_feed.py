from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.feeds import IMAGES, LABELS, assert_one_sequence, partly
from tests.data.pictures import encoded, pixels
from weightatlas.data import Augmentation, ResidentFeed, StreamedFeed, parquet, read_parquet
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

BUSY = Augmentation(flip=True, shift=2, crop=4)


@settings(deadline=None, max_examples=30)
@given(
    start=st.integers(0, 5000),
    size=st.integers(1, 60),
    cuts=st.lists(st.integers(1, 60), max_size=3),
    ranks=st.integers(1, 5),
    workers=st.sampled_from([1, 3]),
)
def test_the_stream_is_one_sequence_however_it_is_cut(
    start: int, size: int, cuts: list[int], ranks: int, workers: int
) -> None:
    feed = StreamedFeed(replace(IMAGES, blocks=(9, 9, 5)), augmentation=BUSY, seed=1, workers=workers)
    assert_one_sequence(feed, start=start, size=size, cuts=cuts, ranks=ranks)


def test_it_gives_what_a_resident_feed_gives_of_the_same_data() -> None:
    streamed = StreamedFeed(IMAGES, augmentation=BUSY, normalization="half", seed=4, workers=2, limit=20)
    resident = ResidentFeed(IMAGES, augmentation=BUSY, normalization="half", seed=4, limit=20)
    for start, size in ((0, 20), (300, 33)):
        for one, other in zip(streamed.batch(start, size), resident.batch(start, size), strict=True):
            assert torch.equal(one, other)
    for at_most in (None, 6):
        pairs = zip(streamed.in_order(7, at_most=at_most), resident.in_order(7, at_most=at_most), strict=True)
        for first, second in pairs:
            assert torch.equal(first[0], second[0])
            assert torch.equal(first[1], second[1])
    for name in ("name", "shape", "classes", "examples", "notes", "skipped"):
        assert getattr(streamed, name) == getattr(resident, name)
    assert streamed.fingerprint() == resident.fingerprint()


def test_where_data_lie_in_blocks_a_pass_goes_through_one_after_the_other() -> None:
    blocks = (9, 9, 5)
    of_number = torch.repeat_interleave(torch.arange(3), torch.tensor(blocks))
    numbered = replace(IMAGES, blocks=blocks, targets=torch.arange(23), classes=None)
    _, targets = StreamedFeed(numbered, seed=3).batch(0, 23)
    assert int((of_number[targets].diff() != 0).sum()) == 2
    assert not torch.equal(targets, targets.sort().values)


def test_a_readable_neighbour_stands_in_for_what_cannot_be_read() -> None:
    whole, broken = (partly(readable) for readable in (set(range(23)), set(range(23)) - {4, 11, 19}))
    expected, numbers = StreamedFeed(replace(whole, targets=torch.arange(23), classes=None), seed=1).batch(0, 23)
    feed = StreamedFeed(broken, seed=1)
    inputs, targets = feed.batch(0, 23)
    assert len(feed.skipped) == 3
    assert feed.examples == 23
    places, last = [], next(place for place, number in enumerate(numbers.tolist()) if number not in {4, 11, 19})
    for place, number in enumerate(numbers.tolist()):
        last = last if number in {4, 11, 19} else place
        places.append(last)
    assert torch.equal(inputs, expected[places])
    assert torch.equal(targets, LABELS[numbers[places]])
    assert sum(len(targets) for _, targets in feed.in_order(8)) == 20


def test_a_batch_without_anything_readable_is_an_error_and_in_order_it_is_left_out() -> None:
    feed = StreamedFeed(partly({22}))
    with pytest.raises(SourceError, match=r"partly: none of \d+ examples can be read; check that they are images"):
        feed.batch(next(place for place in range(23) if feed._numbers(place, 1)[0] != 22), 1)
    assert [targets.tolist() for _, targets in feed.in_order(4)] == [[LABELS[22].item()]]


def test_examples_are_fetched_by_several_threads() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        meeting.wait()  # passes only once three threads are here
        return IMAGES.fetch(numbers)

    inputs, _ = StreamedFeed(replace(IMAGES, fetch=fetch), workers=3).batch(0, 24)
    assert len(inputs) == 24


def test_an_error_of_a_thread_is_the_callers() -> None:
    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if 5 in numbers.tolist():
            raise SourceError(IMAGES.name, "the disk is gone", "mount it")
        return IMAGES.fetch(numbers)

    with pytest.raises(SourceError, match="the disk is gone"):
        StreamedFeed(replace(IMAGES, fetch=fetch), workers=3).batch(0, 23)
    with pytest.raises(ValueError, match="workers must be 1 or more, not 0"):
        StreamedFeed(IMAGES, workers=0)


def test_threads_may_read_parquet_whose_row_groups_do_not_all_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    images = [{"bytes": encoded(pixels(number))} for number in range(40)]
    table = pyarrow.table({"image": images, "label": [number % 3 for number in range(40)]})
    writer.write_table(table, tmp_path / "train-00000-of-00001.parquet", row_group_size=2)
    monkeypatch.setattr(parquet, "GROUP_LIMIT", 2000)
    one, many = (StreamedFeed(read_parquet(tmp_path), workers=workers) for workers in (1, 8))
    for start in range(0, 400, 40):
        for first, second in zip(one.batch(start, 40), many.batch(start, 40), strict=True):
            assert torch.equal(first, second)
