"""The checkpoints of one training run in the order of their steps, opened one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from weightatlas.errors import SourceError
from weightatlas.wording import listed

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Checkpoint, Skipped
    from weightatlas.checkpoints.runs.run_order import Unit


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One checkpoint of a run.

    Attributes:
        step: where it stands.
        name: as the run calls it.
        open: opens it, anew each time.
    """

    step: int
    name: str
    open: Callable[[], Checkpoint]


class Trajectory(Sequence[tuple[int, "Checkpoint"]]):
    """The checkpoints of one training run: pairs of step and checkpoint in the order of the steps.

    A checkpoint is opened when it is asked for and not kept, so that a run of any length fits in memory. Slicing gives
    a trajectory of fewer steps.

    Attributes:
        source: the run, as the user named it.
        steps: where the checkpoints stand, ascending, each once.
        sources: the name of each.
        unit: what the steps count: "step", "epoch", "token", or "position" in the order of the list that was given.
        skipped: what lies in the run and is not used, with the reason.
        notes: what was found or assumed, one sentence each: missing steps, small differences.
    """

    def __init__(
        self,
        source: str,
        moments: Sequence[Moment],
        *,
        unit: Unit = "step",
        skipped: Sequence[Skipped] = (),
        notes: Sequence[str] = (),
    ) -> None:
        """Hold what opens each checkpoint; `open_trajectory` finds them."""
        self.source = source
        self.unit: Unit = unit
        self.steps = tuple(moment.step for moment in moments)
        self.sources = tuple(moment.name for moment in moments)
        self.skipped = tuple(skipped)
        self.notes = tuple(notes)
        self._moments = tuple(moments)

    def __len__(self) -> int:
        """Count the checkpoints."""
        return len(self._moments)

    @overload
    def __getitem__(self, index: int) -> tuple[int, Checkpoint]: ...
    @overload
    def __getitem__(self, index: slice) -> Trajectory: ...
    def __getitem__(self, index: int | slice) -> tuple[int, Checkpoint] | Trajectory:
        """Open one checkpoint, by its place in the order; a slice opens none.

        Raises:
            SourceError: the checkpoint cannot be opened, or is gone.
            IndexError: there is no such place.
        """
        if isinstance(index, slice):
            chosen = self._moments[index]
            return Trajectory(self.source, chosen, unit=self.unit, skipped=self.skipped, notes=self.notes)
        moment = self._moments[index]
        return moment.step, moment.open()

    def __iter__(self) -> Iterator[tuple[int, Checkpoint]]:
        """Open one checkpoint after the other."""
        for moment in self._moments:
            yield moment.step, moment.open()

    def at(self, step: int) -> Checkpoint:
        """Open the checkpoint of a step.

        Raises:
            SourceError: there is none of that step, or it cannot be opened.
        """
        for moment in self._moments:
            if moment.step == step:
                return moment.open()
        near = sorted(sorted(self.steps, key=lambda other: abs(other - step))[:2])
        remedy = f"the nearest: {listed([f'{other:,}' for other in near])}" if near else "it has no checkpoints"
        raise SourceError(self.source, f"no checkpoint of {self.unit} {step:,}", remedy)

    def __repr__(self) -> str:
        """Say which run and how long."""
        if not self.steps:
            return f"Trajectory({self.source!r}, 0 checkpoints)"
        count = f"{len(self)} checkpoint{'' if len(self) == 1 else 's'}"
        return f"Trajectory({self.source!r}, {count}, {self.unit} {self.steps[0]:,} to {self.steps[-1]:,})"
