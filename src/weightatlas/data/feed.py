"""What training takes its batches from: an endless stream of examples, any stretch of which can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Protocol

import torch

from weightatlas.data.examples import in_order
from weightatlas.data.seeds import derived_seed
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.data.augmentation import Augmentation
    from weightatlas.data.examples import Examples

Batch = tuple[torch.Tensor, torch.Tensor]

ORDER, CHANGES = 2, 3
"""Keys of the two streams of a seed; scenes take those before."""

STRIP: Final = 1024
"""Places of the stream whose augmentation is drawn from one generator."""


class Feed(Protocol):
    """An endless stream of examples; every stretch of it is fixed by its seed and its place alone.

    The stream is one sequence, however it is cut: `batch(0, 96)` is `batch(0, 64)` and `batch(64, 32)` in a row, and
    the shares of all ranks in a row are the batch. So a resumed run, a batch size that changes and several processes
    need no state.

    Attributes:
        name: what the user named.
        shape: of one input, after augmentation.
        classes: how many there are; None where the targets are no classes, or nothing tells.
        examples: how many make a pass; None where the stream has no passes.
        notes: what was assumed, one sentence each.
        skipped: what could not be read so far, each with its reason.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def classes(self) -> int | None: ...  # noqa: D102
    @property
    def examples(self) -> int | None: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def skipped(self) -> tuple[Skipped, ...]: ...  # noqa: D102

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the examples `start` to `start + size` of the stream, augmented and normalised.

        Args:
            start: how many examples were seen before.
            size: how many there are in the batch, over all processes.
            rank: which share of the batch, a run of neighbours.
            ranks: how many shares; they differ by one at most.

        Returns:
            float32 inputs (share, ...) and targets (share,), int64 for classes, on the feed's device.
        """
        ...

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through the examples once in their own order, with the fixed part of the augmentation only.

        Args:
            size: examples in a batch.
            at_most: how many at most, spread evenly over the data (data are often sorted by class); of what has no
                end or no numbers, the first. None is all.
        """
        ...

    def fingerprint(self) -> str:
        """Give a digest of what decides the data: 64 hexadecimal digits."""
        ...


def spacing(examples: int, at_most: int | None) -> int:
    """Every how many examples one is taken, so that there are so many at most.

    Example:
        >>> spacing(50_000, 2048), spacing(100, 2048), spacing(100, None)
        (25, 1, 1)
    """
    return 1 if at_most is None else max(1, -(-examples // at_most))


def share(start: int, size: int, rank: int, ranks: int) -> tuple[int, int]:
    """Where the share of a rank begins in the stream, and how many examples it has.

    Raises:
        ValueError: there is no such stretch or rank.

    Example:
        >>> [share(100, 8, rank, 3) for rank in range(3)]
        [(100, 2), (102, 3), (105, 3)]
    """
    if start < 0 or size < 1 or not 0 <= rank < ranks:
        message = (
            f"a batch needs start >= 0, size >= 1 and rank from 0 to ranks - 1, "
            f"not start {start}, size {size} and rank {rank} of {ranks}"
        )
        raise ValueError(message)
    low, high = (size * part // ranks for part in (rank, rank + 1))
    return start + low, high - low


def stretch(block: Callable[[int], torch.Tensor], length: int, start: int, size: int) -> torch.Tensor:
    """The entries `start` to `start + size` of blocks of one length in a row, without end."""
    parts = []
    while size > 0:
        number, offset = divmod(start, length)
        part = block(number)[offset : offset + size]
        parts.append(part)
        start, size = start + len(part), size - len(part)
    if not parts:
        return block(start // length)[:0]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class Draws:
    """What is drawn for each place of a stream."""

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        """Draw strip by strip, as places are asked for."""
        self._strip = lru_cache(maxsize=8)(partial(_drawn, augmentation, seed))

    def __call__(self, start: int, size: int) -> torch.Tensor:
        """Give the draws of the places `start` to `start + size`: (size, 8)."""
        return stretch(self._strip, STRIP, start, size)


def _drawn(augmentation: Augmentation, seed: int, number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(derived_seed(seed, CHANGES, number))
    return augmentation.draw(STRIP, generator)


class Passes:
    """The numbers of examples in an endless row of shuffled passes; the order of a pass is that of (seed, pass)."""

    def __init__(self, examples: Examples, seed: int) -> None:
        """Shuffle a pass when it is first asked for."""
        self._length = len(examples)
        # Not a method of its own: a cycle would hold the examples until the collector looks, gigabytes of a device.
        self._pass = lru_cache(maxsize=2)(partial(_shuffled, examples, seed))

    def __call__(self, start: int, size: int) -> torch.Tensor:
        """Give the numbers at the places `start` to `start + size`: int64 (size,)."""
        return stretch(self._pass, self._length, start, size)


def _shuffled(examples: Examples, seed: int, number: int) -> torch.Tensor:
    return in_order(examples, limit=None, seed=derived_seed(seed, ORDER, number))


def shape_after(name: str, shape: tuple[int, ...], augmentation: Augmentation) -> tuple[int, ...]:
    """The shape of an input after augmentation.

    Raises:
        SourceError: the data cannot be augmented so.
    """
    try:
        return augmentation.shape_of(shape)
    except ValueError as error:
        raise SourceError(name, str(error), "change the augmentation or the size of the images") from error


def class_count(name: str, targets: torch.Tensor, names: tuple[str, ...] | None) -> int | None:
    """How many classes there are: as many as have names, else one more than the largest target of one for each example.

    Raises:
        SourceError: a target is no class.
    """
    if targets.is_floating_point() or (targets.ndim != 1 and names is None):
        return None
    low, high = int(targets.min()), int(targets.max())
    count = high + 1 if names is None else len(names)
    if low < 0 or high >= count:
        problem = f"labels from {low} to {high}, where classes are 0 to {count - 1}"
        raise SourceError(name, problem, "choose a split that has labels, or other labels")
    return count
