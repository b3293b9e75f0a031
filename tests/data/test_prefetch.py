from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.feeds import IMAGES
from weightatlas.data import Augmentation, Prefetched, ResidentFeed, SceneFeed, Scenes, StreamedFeed
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.data import Feed
    from weightatlas.data.feed import Batch

CHANGES = Augmentation(flip=True, shift=1)


class Watched(ResidentFeed):
    """Notes which batches are made and in which thread, and fails where it is told to."""

    def __init__(self, *, broken: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        super().__init__(IMAGES, workers=1)
        self.made: list[tuple[int, int]] = []
        self.threads: set[int] = set()
        self.broken = set(broken)

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        self.made.append((start, size))
        self.threads.add(threading.get_ident())
        if start in self.broken:
            raise SourceError(self.name, f"no batch at {start}", "mend it")
        return super().batch(start, size, rank=rank, ranks=ranks)


def feeds() -> list[Feed]:
    return [
        ResidentFeed(IMAGES, augmentation=CHANGES, seed=3),
        StreamedFeed(IMAGES, augmentation=CHANGES, seed=3, workers=2),
        SceneFeed(Scenes(size=12, batch=8), augmentation=CHANGES),
    ]


@pytest.mark.parametrize("number", range(3))
@settings(deadline=None, max_examples=15)
@given(
    asked=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=6),
    depth=st.integers(1, 3),
    workers=st.integers(1, 3),
    rank=st.integers(0, 1),
)
def test_batches_are_exactly_those_of_the_feed_whatever_is_asked_for(
    number: int, asked: list[tuple[int, int]], depth: int, workers: int, rank: int
) -> None:
    feed = feeds()[number]
    with Prefetched(feed, depth=depth, workers=workers) as ahead:
        for start, size in asked:
            for one, other in zip(
                ahead.batch(start, size, rank=rank, ranks=2), feed.batch(start, size, rank=rank, ranks=2), strict=True
            ):
                assert torch.equal(one, other)


def test_what_follows_is_prepared_in_threads_and_not_made_twice() -> None:
    feed = Watched()
    with Prefetched(feed, depth=2) as ahead:
        for step in range(5):
            ahead.batch(4 * step, 4)
    assert feed.made[:5] == [(4 * step, 4) for step in range(5)]
    assert len(feed.made) <= 7
    assert threading.get_ident() not in feed.threads


def test_a_new_batch_size_or_place_drops_what_was_prepared() -> None:
    feed = Watched()
    with Prefetched(feed, depth=1) as ahead:
        expected = [feed.batch(*asked)[0] for asked in ((0, 4), (4, 8), (12, 8), (0, 4))]
        given = [ahead.batch(*asked)[0] for asked in ((0, 4), (4, 8), (12, 8), (0, 4))]
        assert all(torch.equal(one, other) for one, other in zip(expected, given, strict=True))
        assert set(ahead._ahead) == {(4, 4, 0, 1)}


def test_an_error_comes_with_the_batch_it_belongs_to_and_can_be_tried_again() -> None:
    feed = Watched(broken={8})
    with Prefetched(feed, depth=3) as ahead:
        for start in (0, 4):
            ahead.batch(start, 4)
        with pytest.raises(SourceError, match="no batch at 8; mend it"):
            ahead.batch(8, 4)
        feed.broken.clear()
        assert torch.equal(ahead.batch(8, 4)[0], feed.batch(8, 4)[0])


def test_after_an_interruption_no_thread_is_left_and_batches_still_come() -> None:
    feed = Watched()
    before = threading.active_count()
    ahead = Prefetched(feed, depth=3, workers=2)

    def interrupted() -> None:
        with ahead:
            ahead.batch(0, 4)
            assert threading.active_count() > before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before
    assert torch.equal(ahead.batch(4, 4)[0], feed.batch(4, 4)[0])
    ahead.close()


def test_closing_waits_for_what_is_being_made_and_drops_the_rest() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Watched):
        def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
            if start == 4:
                begun.set()
                assert go_on.wait(20)
            return super().batch(start, size, rank=rank, ranks=ranks)

    feed = Slow()
    ahead = Prefetched(feed, depth=3)
    ahead.batch(0, 4)
    assert begun.wait(20)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    time.sleep(0.05)
    go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert feed.made == [(0, 4), (4, 4)]


def test_it_says_what_the_feed_says() -> None:
    for feed in feeds():
        with Prefetched(feed) as ahead:
            for name in ("name", "shape", "classes", "examples", "notes", "skipped"):
                assert getattr(ahead, name) == getattr(feed, name)
            assert ahead.fingerprint() == feed.fingerprint()
            first, (own, *_) = next(ahead.in_order(5, at_most=3)), feed.in_order(5, at_most=3)
            assert torch.equal(first[0], own[0])


def test_a_depth_or_workers_of_nothing_is_refused() -> None:
    for options in ({"depth": 0}, {"workers": 0}):
        with pytest.raises(ValueError, match="prefetching needs depth >= 1 and workers >= 1"):
            Prefetched(feeds()[0], **options)
