"""How well a network is conditioned: its channels before nonlinearities and the smoothness of its loss, over a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from torch import nn

from weightatlas.checkpoints import Checkpoint, Trajectory
from weightatlas.conditioning import tables
from weightatlas.conditioning.singularities import DEAD, NEAR_DEAD, Singularities, singularities
from weightatlas.conditioning.smoothness import Smoothness, smoothness
from weightatlas.conditioning.snapshots import Snapshot
from weightatlas.errors import MissingDependencyError, SourceError, WeightatlasError
from weightatlas.evaluation import load_checkpoint, open_model
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.evaluation import Data
    from weightatlas.plate import Plate

    Source = Checkpoint | Trajectory | nn.Module | str | os.PathLike[str]

MOMENTS: Final = 12
"""Checkpoints of a run that are measured: its first, its last and others evenly between."""

UNASKED: Final = "smoothness was not asked for"


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

    Args:
        source: an open checkpoint or run, a live model, or anything `open_checkpoint` takes.
        model: what `open_model` takes, if the source is no model itself.
        data: what `open_data` gives.
        examples: how many the channels are measured on.
        training: in training mode: norms use the statistics of the batches that `data` gives.
        dead: share of positive values below which a channel is dead.
        near_dead: and nearly dead.
        smooth: measure smoothness too; it takes most of the time.
        smooth_examples: how many the loss is a mean over.
        draws: random directions that the gradient's is compared with.
        eigenvalues: 1 for the Hessian's top eigenvalue, 0 for none; it needs curvlinops.
        moments: checkpoints of a run, at most: the first, the last, and others evenly between.
        seed: of every random choice.
        progress: called after each moment.

    Raises:
        SourceError: the source, the model or the data cannot be used together, at any moment.
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
    asked = _Asked(
        data=data,
        channels={"examples": examples, "training": training, "dead": dead, "near_dead": near_dead, "seed": seed},
        smooth={
            "examples": smooth_examples,
            "training": training,
            "draws": draws,
            "eigenvalues": eigenvalues,
            "seed": seed,
        }
        if smooth
        else None,
    )
    snapshots, left_out = [], []
    chosen = _moments(source, moments)
    for place, (step, weights) in enumerate(chosen):
        if isinstance(weights, SourceError):
            left_out.append(f"step {step:,} is left out: {weights.problem}")
        else:
            network = _network(weights, model)
            snapshots.append(asked.snapshot(network, step))
        progress(place + 1, len(chosen), "" if step is None else f"step {step:,}")
    if not snapshots:
        raise SourceError(_name(source), "no checkpoint of it can be opened", "see `weightatlas layers` on each")
    return Conditioning(
        source=_name(source),
        snapshots=tuple(snapshots),
        data=data.name,
        notes=(*left_out, *_notes(snapshots)),
        seed=seed,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is measured at every moment."""

    data: Data
    channels: dict[str, Any]
    smooth: dict[str, Any] | None

    def snapshot(self, network: nn.Module, step: int | None) -> Snapshot:
        """Measure one moment; what cannot be measured says why."""
        channels: Singularities | None = None
        unmeasured, rough = None, UNASKED
        try:
            channels = singularities(network, self.data, **self.channels)
        except WeightatlasError as error:
            unmeasured = _reason(error)
        found: Smoothness | None = None
        if self.smooth is not None:
            try:
                found = self._smoothness(network, self.smooth)
            except (WeightatlasError, ValueError) as error:
                rough = _reason(error)
        if channels is None and (self.smooth is None or found is None):
            raise SourceError(type(network).__name__, unmeasured or rough, "give data that the network takes")
        return Snapshot(step, channels, found, unmeasured, None if found is not None else rough)

    def _smoothness(self, network: nn.Module, options: dict[str, Any]) -> Smoothness:
        try:
            return smoothness(network, self.data, **options)
        except MissingDependencyError:
            return smoothness(network, self.data, **{**options, "eigenvalues": 0})


def _moments(source: Source, most: int) -> list[tuple[int | None, Checkpoint | nn.Module | str | SourceError]]:
    """The steps of a run that are measured with their checkpoints, opened one at a time; or the source alone."""
    if not isinstance(source, Trajectory):
        return [(None, source if isinstance(source, Checkpoint | nn.Module) else os.fspath(source))]
    places = np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).round().astype(int))
    return [(source.steps[place], _opened(source, int(place))) for place in places.tolist()]


def _opened(run: Trajectory, place: int) -> Checkpoint | SourceError:
    try:
        return run[place][1]
    except SourceError as error:
        return error


def _network(weights: Checkpoint | nn.Module | str, model: nn.Module | str | None) -> nn.Module:
    """The network with its weights, in evaluation mode."""
    if isinstance(weights, nn.Module):
        return open_model(weights)
    if isinstance(model, nn.Module):
        load_checkpoint(model, weights)
        return model.eval()
    return open_model(model, checkpoint=weights)


def _name(source: Source) -> str:
    if isinstance(source, Checkpoint | Trajectory):
        return source.source
    return type(source).__name__ if isinstance(source, nn.Module) else os.fspath(source)


def _notes(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """What a reader has to know of all moments, each sentence once."""
    said: dict[str, None] = {}
    for one in snapshots:
        if one.channels is not None:
            said |= dict.fromkeys(one.channels.notes)
        if one.smoothness is not None and one.smoothness.hessian is not None and not one.smoothness.hessian.converged:
            said["where the top eigenvalue did not converge it is a lower bound"] = None
        if one.unmeasured is not None:
            said[f"channels were not measured: {one.unmeasured}"] = None
        if one.rough not in (None, UNASKED):
            said[f"smoothness was not measured: {one.rough}"] = None
    yield from said


def _reason(error: Exception) -> str:
    return error.problem if isinstance(error, SourceError) else " ".join(str(error).split())
