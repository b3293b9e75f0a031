"""The statistics of every tensor of a checkpoint: what is there, how large, how spread, how many directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol

from weightatlas.anatomy.listing import COLUMNS, Unreadable, layer_row, unreadable_row
from weightatlas.anatomy.statistics import WeightStatistics, weight_statistics
from weightatlas.errors import SourceError
from weightatlas.parallel import Backend, parallel_map
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt
    import torch

    from weightatlas.anatomy.layers import Layer
    from weightatlas.plate import Plate

FIGURES = ("norm", "std", "largest", "zeros", "non_finite", "kurtosis", "stable_rank", "stable_rank_null")


class Weights(Protocol):
    """What the survey needs of a checkpoint; `checkpoints.Checkpoint` is one."""

    @property
    def source(self) -> str: ...  # noqa: D102 - described where they are set
    @property
    def layers(self) -> tuple[Layer, ...]: ...  # noqa: D102
    @property
    def skipped(self) -> Sequence[Unreadable]: ...  # noqa: D102

    def __getitem__(self, name: str) -> torch.Tensor: ...  # noqa: D105


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """One tensor and its figures."""

    layer: Layer
    statistics: WeightStatistics


@dataclass(frozen=True, slots=True, eq=False)
class LayerSurvey(Result):
    """Every tensor of a source with its figures, in the order of the file.

    Attributes:
        source: the name of what was measured, as the user gave it.
        measured: the tensors and their figures.
        unreadable: what the source holds that is no tensor, with the reasons.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {"layers": (*COLUMNS[:-1], *FIGURES, COLUMNS[-1])}

    source: str
    measured: tuple[MeasuredLayer, ...]
    unreadable: tuple[Unreadable, ...] = ()

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a tensor, then one for each thing that cannot be read."""
        columns = self.columns(table)
        rows = [_row(columns, entry) for entry in self.measured]
        return rows + [unreadable_row(columns, entry) for entry in self.unreadable]

    def chart(self) -> alt.VConcatChart:
        """Spread, tails and stable rank of every layer, by depth."""
        from weightatlas.anatomy.plates import chart

        return chart(self)

    def plates(self) -> list[Plate]:
        """What the source is, what stands out, the list of its layers, and their figures by depth."""
        from weightatlas.anatomy.plates import plates

        return plates(self)


def survey(
    checkpoint: Weights,
    *,
    jobs: int | None = None,
    backend: Backend = "threading",
    seed: int = 0,
    progress: Progress = silent,
) -> LayerSurvey:
    """Measure every tensor of a checkpoint, each read once.

    The figures are those of `weight_statistics`. The largest tensors are measured first, so that no core waits for a
    late one. What cannot be measured or read is a row with the reason.

    Args:
        checkpoint: an opened checkpoint.
        jobs: how many tensors at once; None is one a core.
        backend: as in `parallel.parallel_map`.
        seed: of the iterations that find spectral norms.
        progress: called after each tensor.

    Example:
        >>> import torch, weightatlas
        >>> checkpoint = weightatlas.open_checkpoint(torch.nn.Sequential(torch.nn.Linear(2, 2)))
        >>> [row["tensor"] for row in survey(checkpoint).rows()]
        ['0.weight', '0.bias']
    """
    layers = checkpoint.layers
    largest_first = sorted(range(len(layers)), key=lambda index: -layers[index].parameters)
    found = parallel_map(
        partial(_measure, checkpoint, seed=seed),
        [layers[index] for index in largest_first],
        jobs=jobs,
        backend=backend,
        progress=progress,
        label=_name,
    )
    statistics = dict(zip(largest_first, found, strict=True))
    measured = tuple(MeasuredLayer(layer, statistics[index]) for index, layer in enumerate(layers))
    return LayerSurvey(checkpoint.source, measured, tuple(checkpoint.skipped))


def _name(layer: Layer) -> str:
    return layer.tensor


def _measure(checkpoint: Weights, layer: Layer, *, seed: int) -> WeightStatistics:
    if layer.skipped is not None:
        return WeightStatistics(skipped=layer.skipped)
    try:
        weight = checkpoint[layer.tensor]
    except SourceError as error:
        return WeightStatistics(skipped=f"{error.problem}; {error.remedy}")
    except (OSError, RuntimeError, ValueError) as error:
        return WeightStatistics(skipped=f"it cannot be read: {' '.join(str(error).split())}")
    return weight_statistics(weight, seed=seed)


def _row(columns: Sequence[str], entry: MeasuredLayer) -> Row:
    row = layer_row(entry.layer)
    row["skipped"] = entry.statistics.skipped
    measured = row["skipped"] is None
    row |= {figure: plain(getattr(entry.statistics, figure)) if measured else None for figure in FIGURES}
    return {column: row[column] for column in columns}
