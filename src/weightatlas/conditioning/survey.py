"""How well a network is conditioned: its channels before nonlinearities and the smoothness of its loss, over a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from torch import nn

from weightatlas.checkpoints import Checkpoint, Trajectory
from weightatlas.conditioning import tables
from weightatlas.conditioning.measuring import EIGENVALUE, UNASKED, Measurement
from weightatlas.conditioning.singularities import DEAD, NEAR_DEAD
from weightatlas.conditioning.snapshots import Snapshot
from weightatlas.errors import SourceError
from weightatlas.evaluation.networks import Network, network_of, source_name
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row
from weightatlas.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.evaluation import Data
    from weightatlas.plate import Plate

    Source = Network | Trajectory

MOMENTS: Final = 12
"""Checkpoints of a run that are measured: its first, its last and others evenly between."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning(Result):
    """The conditioning of one source.

    Attributes:
        source: what was measured.
        snapshots: at each moment, in the order of the run; one where there is no run.
        data: what it was measured on.
        notes: what was assumed or left out, one sentence each.
        seed: of every random choice.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = tables.COLUMNS

    source: str
    snapshots: tuple[Snapshot, ...]
    data: str
    notes: tuple[str, ...]
    seed: int

    @property
    def last(self) -> Snapshot:
        """The newest moment of which something is known; the newest where nothing is."""
        known = [one for one in self.snapshots if one.channels is not None or one.smoothness is not None]
        return (known or list(self.snapshots))[-1]

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "layers", "channels", "weights", "steps" or "walks"."""
        columns = self.columns(table)
        make = tables.ROWS[next(iter(tables.ROWS)) if table is None else table]
        return [{column: row.get(column) for column in columns} for row in make(self)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Statistics of the channels of every layer at the last moment, named `layer/what`, and the table of steps."""
        figures = ("mean", "std", "positive", "normalized_mean", "normalized_std")
        arrays: dict[str, npt.NDArray[Any]] = {
            f"{point.layer}/{name}": getattr(point, name) for point in self.last.points for name in figures
        }
        rows = self.rows("steps")
        for column in self.columns("steps")[:-1]:
            values = [row[column] for row in rows]
            arrays[f"steps/{column}"] = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
        return arrays

    def chart(self) -> alt.LayerChart | alt.FacetChart:
        """Every channel's mean and deviation, by layer, beside batch norm's."""
        from weightatlas.conditioning.charts import plane_chart

        return plane_chart(self)

    def plates(self) -> Sequence[Plate]:
        """Findings, layers, the plane of means and deviations, positive shares, gradient terms, walks, the course."""
        from weightatlas.conditioning.plates import conditioning_plates

        return conditioning_plates(self)


def survey(
    source: Source,
    *,
    model: nn.Module | str | None = None,
    data: Data,
    examples: int = 512,
    training: bool = False,
    dead: float = DEAD,
    near_dead: float = NEAR_DEAD,
    smooth: bool = True,
    smooth_examples: int = 128,
    draws: int = 19,
    eigenvalues: int = 1,
    moments: int = MOMENTS,
    seed: int = 0,
    progress: Progress = silent,
) -> Conditioning:
    """Measure how well a network is conditioned, at the end of a run or over it.

    At each moment: the channels before every nonlinearity (`singularities`), and the terms by which standardising
    weights shortens the gradient, the Lipschitz estimates of the loss and its top Hessian eigenvalue (`smoothness`).
    All moments see the same examples. q values are Benjamini-Hochberg over the layers of one moment: both distances of
    all layers together, both terms of all convolutions together.

    What cannot be measured of one moment (a loss that is not finite, a network without a nonlinearity) is said in the
    notes, and so are checkpoints of a run that cannot be opened or loaded, NaN weights among them.

    Args:
        source: an open checkpoint or run, a live model, or anything `open_checkpoint` takes.
        model: what `open_model` takes, if the source is no model itself; a live one is copied and stays as it was.
        data: what `open_data` gives.
        examples: how many the channels are measured on.
        training: in training mode: norms use the statistics of the batches that `data` gives.
        dead: share of positive values below which a channel is dead.
        near_dead: and nearly dead.
        smooth: measure smoothness too; it takes most of the time.
        smooth_examples: how many the loss is a mean over.
        draws: random directions that the gradient's is compared with.
        eigenvalues: 1 for the Hessian's top eigenvalue, 0 for none; it needs curvlinops, and is left out without it.
        moments: checkpoints of a run, at most: the first, the last, and others evenly between.
        seed: of every random choice.
        progress: called after each moment.

    Raises:
        SourceError: the source, the model or the data cannot be used together, or nothing can be measured.
        ValueError: an option is out of range.

    **Source:** "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization" (Qiao and others,
    2019); see `singularities` and `smoothness` for what is ours.

    Example:
        >>> from weightatlas.evaluation import open_data, open_model
        >>> network = open_model("weightatlas:resnet20-cifar?width=0.25")
        >>> found = survey(network, data=open_data("scenes"), examples=16, smooth=False)
        >>> [(row["layer"], row["norm"], row["channels"]) for row in found.rows()][:2]
        [('bn1', 'batch', 4), ('layer1.0.bn1', 'batch', 4)]
    """
    if moments < 1:
        message = f"at least one moment is needed, not {moments}"
        raise ValueError(message)
    measure = Measurement(
        data=data,
        channels={"examples": examples, "training": training, "dead": dead, "near_dead": near_dead, "seed": seed},
        smooth={"examples": smooth_examples, "training": training, "draws": draws, "eigenvalues": eigenvalues}
        | {"seed": seed}
        if smooth
        else None,
    )
    snapshots: list[Snapshot] = []
    left_out: dict[str, SourceError] = {}
    chosen = _moments(source, moments)
    for place, (step, weights) in enumerate(chosen):
        try:
            snapshots.append(measure(network_of(weights(), model), step))
        except SourceError as error:
            if step is None:
                raise
            left_out[f"step {step:,} is left out: {error.problem}"] = error
        progress(place + 1, len(chosen), "" if step is None else f"step {step:,}")
    if not snapshots:
        raise next(iter(left_out.values()))
    if all(one.channels is None and one.smoothness is None for one in snapshots):
        problem = snapshots[0].unmeasured or "nothing can be measured"
        raise SourceError(source_name(source), problem, "give data that the network takes, or another network")
    return Conditioning(
        source=source_name(source),
        snapshots=tuple(snapshots),
        data=data.name,
        notes=(*left_out, *_notes(snapshots)),
        seed=seed,
    )


def _moments(source: Source, most: int) -> list[tuple[int | None, Callable[[], Network]]]:
    """The steps of a run that are measured with what opens their checkpoints, one at a time; or the source alone."""
    if not isinstance(source, Trajectory):
        return [(None, lambda: source)]
    places = np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).round().astype(int)).tolist()
    return [(source.steps[place], partial(_checkpoint, source, place)) for place in places]


def _checkpoint(run: Trajectory, place: int) -> Checkpoint:
    return run[place][1]


def _notes(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """What a reader has to know of all moments, each sentence once."""
    said: dict[str, None] = {}
    for one in snapshots:
        if one.channels is not None:
            said |= dict.fromkeys(one.channels.notes)
        if one.smoothness is not None and one.smoothness.hessian is not None and not one.smoothness.hessian.converged:
            said["where the top eigenvalue did not converge it is a lower bound"] = None
    yield from said
    yield from _missing("channels", snapshots, [one.unmeasured for one in snapshots])
    yield from _missing("smoothness", snapshots, [None if one.rough == UNASKED else one.rough for one in snapshots])
    yield from _missing(EIGENVALUE, snapshots, [one.flat for one in snapshots])


def _missing(what: str, snapshots: Sequence[Snapshot], reasons: Sequence[str | None]) -> Iterator[str]:
    """Why something was not measured, each reason once, with the steps where it was so of some only."""
    for reason in dict.fromkeys(why for why in reasons if why is not None):
        steps = [one.step for one, why in zip(snapshots, reasons, strict=True) if why == reason]
        known = [f"{step:,}" for step in steps if step is not None]
        at = "" if len(steps) == len(snapshots) else f" at {'step' if len(known) == 1 else 'steps'} {listed(known)}"
        yield f"{what} not measured{at}: {reason}"
