"""The sums of one part of a tensor over all checkpoints of a run, each checkpoint's part read once."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.change.streaming.packed import Packed
from weightatlas.change.summing.measuring import CHUNK, Asked, measure, nothing_measured
from weightatlas.change.summing.stored import viewed
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.change.summing.stored import Stored
    from weightatlas.checkpoints import Checkpoint

PART: Final = 1 << 24
"""Elements of the part of a tensor that one thread goes through: 64 MiB of float32 a checkpoint, mapped, not read."""

WINDOW: Final = 16
"""Pairs that are gone through together: each checkpoint that is mapped takes a file descriptor, of which a process has
1,024 by default, however long the run and however many the threads."""

OUT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What this process, and no checkpoint, is to blame for."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Which checkpoints the sums of a pair come from, by their positions.

    Attributes:
        after: the later of the two.
        start: the first that has the tensor; None where sums do not need it.
        previous: the one before the two; None where there is none, or sums do not need it.
    """

    after: int
    start: int | None = None
    previous: int | None = None

    @property
    def before(self) -> int:
        """The earlier of the two."""
        return self.after - 1

    @property
    def places(self) -> tuple[int, ...]:
        """All that are needed, ascending; the first may be the earlier of the two."""
        others = {place for place in (self.start, self.previous) if place is not None}
        return tuple(sorted({*others, self.before, self.after}))


def pair_at(names: Sequence[str | None], after: int, asked: Asked) -> Pair | None:
    """Give the pair of a checkpoint and the one before; None where one of them does not have the tensor.

    Example:
        >>> pair_at(["w", "w", None, "w", "w"], 4, Asked())
        Pair(after=4, start=0, previous=None)
        >>> pair_at(["w", "w", None, "w", "w"], 3, Asked()) is None
        True
    """
    if after < 1 or names[after] is None or names[after - 1] is None:
        return None
    if asked.only_norms:
        return Pair(after)
    start = next(index for index, name in enumerate(names) if name is not None)
    return Pair(after, start, after - 2 if after >= 2 and names[after - 2] is not None else None)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a tensor, and the pairs that are to be measured there.

    Attributes:
        lineage: the position of its tensor among those of the run.
        names: the tensor's name in each checkpoint; None where it is not to be compared.
        low: its first element.
        high: where it ends.
        pairs: positions of checkpoints whose change from the one before is not known yet, ascending.
        is_mapped: whether parts are mapped from this disk; else they are read, one checkpoint after the other.
    """

    lineage: int
    names: tuple[str | None, ...]
    low: int
    high: int
    pairs: tuple[int, ...]
    is_mapped: bool


@dataclass(frozen=True, slots=True, eq=False)
class PartMeasured:
    """What came of a part.

    Attributes:
        measured: of each pair that could be measured.
        bytes_read: over all checkpoints.
        failed: by the position of a checkpoint, why the tensor cannot be read there.
        lost: why nothing was measured; None where it was.
    """

    measured: Mapping[Pair, Packed]
    bytes_read: int
    failed: Mapping[int, str]
    lost: str | None = None


def measure_part(checkpoints: Sequence[Checkpoint], asked: Asked, part: Part) -> PartMeasured:
    """Measure the pairs of a part; a checkpoint where it cannot be read is taken for one that does not have it.

    Where parts are mapped, several checkpoints are gone through together, chunk by chunk, so that what was read for one
    pair is still in the caches for the next. Else they are read one after the other, and four are held.

    Raises:
        SourceError: this process may not open more files, or map more memory.
    """
    held = _Held(checkpoints, part)
    measured: dict[Pair, Packed] = {}
    together = WINDOW if part.is_mapped else 1
    for first in range(0, len(part.pairs), together):
        window = part.pairs[first : first + together]
        pairs = held.take(window, asked)
        measured.update(held.measure(pairs, asked))
        held.drop(window[-1])
    return PartMeasured(measured, held.bytes_read, held.failed)


class _Held:
    """What is held of a part, by the positions of the checkpoints."""

    def __init__(self, checkpoints: Sequence[Checkpoint], part: Part) -> None:
        self.bytes_read = 0
        self.failed: dict[int, str] = {}
        self._checkpoints, self._part = checkpoints, part
        self._names = list(part.names)
        self._weights: dict[int, Stored] = {}

    def take(self, window: Sequence[int], asked: Asked) -> list[Pair]:
        """Read, or map, what pairs need; those that remain without what cannot be read."""
        while True:
            pairs = [pair for after in window if (pair := pair_at(self._names, after, asked)) is not None]
            missing = sorted({place for pair in pairs for place in pair.places} - self._weights.keys())
            if all(self._read(place) for place in missing):
                return pairs

    def measure(self, pairs: Sequence[Pair], asked: Asked) -> dict[Pair, Packed]:
        """Go through all that is held together, chunk by chunk."""
        sums = {pair: nothing_measured(asked) for pair in pairs}
        length = self._part.high - self._part.low
        size = CHUNK if len(pairs) > 1 else length  # one pair has nothing to find in the caches
        for low in range(0, length, max(size, 1)):
            chunk = {place: weights[low : low + size] for place, weights in self._weights.items()}
            for pair, into in sums.items():
                measure(
                    into,
                    chunk[pair.before],
                    chunk[pair.after],
                    start=None if pair.start is None else chunk[pair.start],
                    previous=None if pair.previous is None else chunk[pair.previous],
                    asked=asked,
                )
        return {pair: Packed.of(into) for pair, into in sums.items()}

    def drop(self, last: int) -> None:
        """Let go of what no pair after this one needs."""
        start = next((place for place, name in enumerate(self._names) if name is not None), None)
        for place in [place for place in self._weights if place < last - 1 and place != start]:
            del self._weights[place]

    def _read(self, place: int) -> bool:
        """Read what one checkpoint has, or note why it cannot be read."""
        name = self._names[place] or ""
        try:
            weights = self._checkpoints[place].parts(name)(self._part.low, self._part.high)
        except (SourceError, OSError, RuntimeError, ValueError) as error:
            _check_own(error, name)
            text = error.problem if isinstance(error, SourceError) else " ".join(str(error).split())[:200]
            self.failed[place] = f"it cannot be read at this step: {text}"
            self._names[place] = None
            return False
        self._weights[place] = viewed(weights)
        self.bytes_read += weights.nbytes
        return True


def _check_own(error: BaseException, name: str) -> None:
    """Refuse to blame a checkpoint where this process has run out of something."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__
    for each in causes:
        if isinstance(each, MemoryError) or (isinstance(each, OSError) and each.errno in OUT_OF):
            problem = f"this process has run out of memory or open files ({each})"
            raise SourceError(name, problem, "take fewer jobs, or raise `ulimit -n`") from error
