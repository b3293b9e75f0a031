"""One sweep over all tensors of a run: what is known is taken from the journal, the rest measured part by part."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from weightatlas.change.streaming import streaming
from weightatlas.change.streaming.journal import Stretch
from weightatlas.change.streaming.opened import Opened
from weightatlas.change.streaming.streaming import Part, PartMeasured, measure_part, pair_at
from weightatlas.change.summing.measuring import nothing_measured
from weightatlas.parallel import WorkerLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.change.streaming.journal import Journal
    from weightatlas.change.streaming.lineage import Lineage
    from weightatlas.change.streaming.packed import Packed
    from weightatlas.change.streaming.streaming import Pair
    from weightatlas.change.summing.measuring import Asked, Measured
    from weightatlas.checkpoints import Checkpoint

    Work = Callable[..., list[PartMeasured]]
    """`parallel_map` with its jobs, backend and progress."""


class Sweep:
    """The sums of every pair of every tensor.

    Attributes:
        unreadable: by tensor and checkpoint, why it cannot be read.
        lost: by tensor, why a part of it was not measured.
        bytes_read: so far; what the journal knew is not read.
    """

    def __init__(
        self, checkpoints: Sequence[Checkpoint], lineages: Sequence[Lineage], asked: Asked, journal: Journal
    ) -> None:
        """Nothing is measured yet."""
        self.unreadable: list[dict[int, str]] = [{} for _ in lineages]
        self.lost: dict[int, str] = {}
        self.bytes_read = 0
        self._lineages = lineages
        self._names = [lineage.names for lineage in lineages]
        self._checkpoints = Opened(checkpoints)
        self._is_mapped = [_is_mapped(lineage, checkpoints) for lineage in lineages]
        self._asked = asked
        self._journal = journal
        self._found: dict[tuple[int, int], dict[Pair, Packed]] = {}

    def run(self, work: Work) -> None:
        """Measure everything; what rests on a checkpoint that turns out not to be readable is measured without it."""
        left: Sequence[int] = range(len(self._lineages))
        while left:
            work(
                partial(measure_part, self._checkpoints, self._asked),
                [part for index in left for part in self._missing(index)],
                on_answer=self._take,
                on_error=_lost,
                label=lambda part: self._lineages[part.lineage].layer,
            )
            left = [index for index in left if self._drop_unreadable(index)]

    def pair(self, index: int, after: int) -> Pair | None:
        """Give the pair of a checkpoint and the one before as a tensor has it; None where it has none."""
        return pair_at(self._names[index], after, self._asked) if self._lineages[index].elements else None

    def total(self, index: int, pair: Pair) -> Measured | None:
        """Give what a pair of a tensor came to, its parts added up in their order; None where one is missing."""
        whole = nothing_measured(self._asked)
        for low, _ in self._cut(index):
            packed = self._found.get((index, low), {}).get(pair)
            if packed is None:
                return None
            whole += packed.unpacked()
        return whole

    def _cut(self, index: int) -> list[tuple[int, int]]:
        """Where the parts of a tensor begin and end."""
        elements = self._lineages[index].elements
        size = streaming.PART if self._is_mapped[index] else elements
        return [(low, min(low + size, elements)) for low in range(0, elements, max(size, 1))]

    def _missing(self, index: int) -> list[Part]:
        """The parts of a tensor in which pairs are not known yet, and those pairs."""
        names = self._names[index]
        pairs = [pair for after in range(1, len(names)) if (pair := self.pair(index, after)) is not None]
        parts = []
        for low, high in self._cut(index) if pairs and index not in self.lost else ():
            found = self._found.setdefault((index, low), {})
            written = self._journal.known(self._stretch(index, low, high))
            for pair in pairs if written else ():
                packed = written.get(self._identities(pair) or "")
                if packed is not None:
                    found.setdefault(pair, packed)
            unknown = tuple(pair.after for pair in pairs if pair not in found)
            if unknown:
                parts.append(Part(index, names, low, high, unknown, self._is_mapped[index]))
        return parts

    def _stretch(self, index: int, low: int, high: int) -> Stretch:
        asked = f"{'norms' if self._asked.only_norms else 'all'}{' and median' if self._asked.median else ''}"
        return Stretch(self._lineages[index].key, low, high, asked)

    def _identities(self, pair: Pair) -> str | None:
        """What journals call a pair; None where a checkpoint has no identity to know it by."""
        places = (pair.start, pair.previous, pair.before, pair.after)
        identities = ["" if place is None else self._checkpoints.identities[place] for place in places]
        return None if None in identities else " ".join(map(str, identities))

    def _take(self, part: Part, answer: PartMeasured) -> None:
        """Keep what came of a part."""
        self.bytes_read += answer.bytes_read
        self.unreadable[part.lineage].update(answer.failed)
        if answer.lost is not None:
            self.lost[part.lineage] = answer.lost
        self._found[part.lineage, part.low].update(answer.measured)
        named = {self._identities(pair): packed for pair, packed in answer.measured.items()}
        kept = {name: packed for name, packed in named.items() if name is not None}
        self._journal.add(self._stretch(part.lineage, part.low, part.high), kept)

    def _drop_unreadable(self, index: int) -> bool:
        """Take a tensor out of the checkpoints where it cannot be read; whether that is new."""
        names = self._names[index]
        self._names[index] = tuple(
            None if place in self.unreadable[index] else name for place, name in enumerate(names)
        )
        return self._names[index] != names


def _is_mapped(lineage: Lineage, checkpoints: Sequence[Checkpoint]) -> bool:
    """Whether every checkpoint that has a tensor maps it."""
    named = zip(lineage.names, checkpoints, strict=True)
    return all(checkpoint.is_mapped(name) for name, checkpoint in named if name is not None)


def _lost(_part: Part, error: Exception) -> PartMeasured:
    """What stands for a part whose process died, again when it was alone; it is not done here, where it may kill us."""
    if not isinstance(error, WorkerLostError):
        raise error
    return PartMeasured({}, 0, {}, lost=f"it was not measured: {error}")
