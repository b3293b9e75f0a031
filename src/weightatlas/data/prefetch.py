"""Batches prepared ahead in threads, so that the network need not wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.data.feed import Batch, Feed


class Prefetched:
    """A `Feed` that prepares the batches it expects next while the last one is used; the batches are the feed's own.

    After `batch(start, size)` it expects `start + size` and so on, of the same size. What comes otherwise is read then
    and there, and the guess dropped. An error in a thread is raised by the `batch` that would have given that batch.
    Close it, or use it in a `with`: threads then end, after the batches they are at.

    Args:
        feed: where batches come from; its `batch` must be safe to call from several threads, as those of this room are.
        depth: batches that are kept ready.
        workers: threads that prepare them; a feed that decodes has threads of its own.

    Raises:
        ValueError: there is no depth or no worker.

    Example:
        >>> from weightatlas.data import SceneFeed, Scenes
        >>> with Prefetched(SceneFeed(Scenes(batch=4))) as feed:
        ...     [tuple(feed.batch(4 * step, 4)[0].shape) for step in range(2)]
        [(4, 3, 24, 24), (4, 3, 24, 24)]
    """

    def __init__(self, feed: Feed, *, depth: int = 2, workers: int = 1) -> None:
        if depth < 1 or workers < 1:
            message = f"prefetching needs depth >= 1 and workers >= 1, not depth {depth} and workers {workers}"
            raise ValueError(message)
        self._feed = feed
        self._depth = depth
        self._pool = ThreadPoolExecutor(workers, "weightatlas-feed")
        self._ahead: dict[tuple[int, int, int, int], Future[Batch]] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """The feed's own, as is what follows."""
        return self._feed.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input, after augmentation."""
        return self._feed.shape

    @property
    def classes(self) -> int | None:
        """How many there are."""
        return self._feed.classes

    @property
    def examples(self) -> int | None:
        """How many make a pass."""
        return self._feed.examples

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed."""
        return self._feed.notes

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read so far; batches that were prepared and not yet asked for count."""
        return self._feed.skipped

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the examples `start` to `start + size` of the stream, and set out to prepare what follows."""
        if self._closed:
            return self._feed.batch(start, size, rank=rank, ranks=ranks)
        wanted = [(start + step * size, size, rank, ranks) for step in range(self._depth + 1)]
        for key in self._ahead.keys() - set(wanted):
            self._ahead.pop(key).cancel()
        for key in wanted:
            if key not in self._ahead:
                self._ahead[key] = self._pool.submit(self._prepared, *key)
        return self._ahead.pop(wanted[0]).result()

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through the examples once in their own order, as the feed does."""
        return self._feed.in_order(size, at_most=at_most)

    def fingerprint(self) -> str:
        """Give the feed's own."""
        return self._feed.fingerprint()

    def close(self) -> None:
        """Drop what was prepared and end the threads; batches are then read when they are asked for."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()

    def __enter__(self) -> Self:
        """Use it until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever ended the block."""
        self.close()

    def _prepared(self, start: int, size: int, rank: int, ranks: int) -> Batch:
        return self._feed.batch(start, size, rank=rank, ranks=ranks)
