"""Who made a channel, and which layers lie on the path to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.anatomy.graph.channel_ids import Channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weightatlas.anatomy.graph.channel_ids import Value
    from weightatlas.anatomy.graph.channel_records import Read
    from weightatlas.anatomy.graph.channel_walk import Walk


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The layer that made some channels.

    Attributes:
        read: the layer.
        rows: int64, for each channel its row there.
    """

    read: Read
    rows: NDArray[np.int64]


class Paths:
    """The layers of a walk, by the ids of their units and by the steps on the way to a value."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.numbers = walk.nodes.numbers()
        self._maker = np.full(walk.nodes.count, -1, np.int64)
        self._row = np.full(walk.nodes.count, -1, np.int64)
        self._made: list[NDArray[np.int64]] = []
        for index, read in enumerate(walk.reads):
            ids = read.outputs.numpy()
            first = self._maker[ids] < 0
            self._maker[ids[first]] = index
            self._row[ids[first]] = np.arange(len(ids))[first] + read.key[1]
            self._made.append(np.unique(self.numbers[ids]))

    def until(self, value: Value) -> int:
        """The steps that a value depends on and its own, as bits."""
        return 0 if not hasattr(value, "step") else self.walk.ancestors[value.step] | 1 << value.step

    def origin(self, ids: NDArray[np.int64]) -> Origin | None:
        """The one layer that made all these channels, or None."""
        makers = np.unique(self._maker[ids])
        if len(makers) != 1 or makers[0] < 0:
            return None
        return Origin(self.walk.reads[int(makers[0])], self._row[ids])

    def alone(self, ids: NDArray[np.int64]) -> bool:
        """Whether nothing was added to these channels: one layer has them, and no input."""
        numbers = np.unique(self.numbers[ids])
        makers = {
            self.walk.reads[index].key if self.walk.reads[index].tensor else index for index in self._makers(numbers)
        }
        given = [self.numbers[one.numpy()] for one in self.walk.inputs]
        return len(makers) == 1 and not any(np.isin(numbers, one).any() for one in given)

    def chain(self, last: Read, within: int) -> list[Read]:
        """A layer and those that its channels came through, among some steps, in order of execution."""
        found = {last.step: last}
        waiting = [last]
        while waiting:
            numbers = np.unique(self.numbers[waiting.pop().inputs.numpy()])
            for index in self._makers(numbers):
                read = self.walk.reads[index]
                if within >> read.step & 1 and read.step < last.step and read.step not in found:
                    found[read.step] = read
                    waiting.append(read)
        return [found[step] for step in sorted(found)]

    def pools(self, within: int) -> bool:
        """Whether a pool over windows is among some steps."""
        return any(
            within >> step & 1 and "pool" in name and "adaptive" not in name
            for step, name in enumerate(self.walk.operators)
        )

    def _makers(self, numbers: NDArray[np.int64]) -> list[int]:
        return [index for index, made in enumerate(self._made) if np.isin(numbers, made, assume_unique=True).any()]


def along(value: Value, axis: int) -> NDArray[np.int64] | None:
    """The ids of a value along one axis, at the first place of the others."""
    if not isinstance(value, Channels):
        return None
    ids = value.expanded().movedim(axis, -1)
    return ids.reshape(-1, value.shape[axis])[0].numpy()


def kernel_of(chain: list[Read]) -> tuple[int, int]:
    """The largest height and the largest width of the kernels of some layers."""
    return max(read.kernel[0] for read in chain), max(read.kernel[1] for read in chain)


def bottleneck_of(chain: list[Read]) -> int | None:
    """Units of the narrowest layer before the last."""
    return min((len(read.outputs) for read in chain[:-1]), default=None)
