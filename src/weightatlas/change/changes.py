"""The weight change of a run: every layer's figures from one checkpoint to the next, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from weightatlas.change import tables
from weightatlas.change.depth import DepthTrend
from weightatlas.change.stopped import Stopped
from weightatlas.change.trends import Trends
from weightatlas.checkpoints import Skipped
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.plate import Plate

FIGURES: Final = ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start", "angle_from_start", "median", "zeros")
"""What is known of a layer at each step, by the names of `ChangeStatistics`."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerChange:
    """One tensor over a run.

    Attributes:
        layer: module path.
        tensor: its full name.
        role: what it is for, as `anatomy` tells it.
        shape: of the tensor, as it was last seen.
        figures: for each of `FIGURES` an array with a value for each step of the run; NaN where there is none.
        reasons: by the position of a step, why it has no figures.
    """

    layer: str
    tensor: str
    role: str
    shape: tuple[int, ...]
    figures: Mapping[str, npt.NDArray[np.float64]]
    reasons: Mapping[int, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """How many there are."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Changes(Result):
    """The weight change of every layer of one run, in the order of the network.

    Attributes:
        source: the run.
        unit: what its steps count: "step", "epoch", "token" or "position".
        steps: where changes were measured: each from the checkpoint before to this one.
        since: the step of the checkpoint before.
        layers: the tensors that were measured; each value of theirs belongs to one of `steps`.
        skipped: checkpoints and tensors that were left out, with the reasons.
        notes: what was found or assumed, one sentence each.
        bytes_read: of the checkpoints, when it was measured.
        figure: whose curves `trends` and `depth` are of.
        trends: which layers move alike; None where the run is too short to tell.
        stopped: which layers have stopped; None where the run is too short to tell.
        depth: whether later layers change more, given their size.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = tables.COLUMNS

    source: str
    unit: str
    steps: tuple[int, ...]
    since: tuple[int, ...]
    layers: tuple[LayerChange, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    bytes_read: int = 0
    figure: str = "ratio_l1"
    trends: Trends | None = None
    stopped: Stopped | None = None
    depth: DepthTrend | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """A name of its own for each tensor: the module path, or the full name where a module has several."""
        often: dict[str, int] = {}
        for layer in self.layers:
            often[layer.layer] = often.get(layer.layer, 0) + 1
        return tuple(layer.layer if often[layer.layer] == 1 else layer.tensor for layer in self.layers)

    def curves(self, figure: str = "ratio_l1") -> npt.NDArray[np.float64]:
        """One figure of all layers, (layers, steps); NaN where there is none.

        Raises:
            KeyError: there is no such figure.
        """
        if figure not in FIGURES:
            message = f"no figure {figure!r}; there is {', '.join(FIGURES)}"
            raise KeyError(message)
        if not self.layers:
            return np.empty((0, len(self.steps)))
        return np.stack([layer.figures[figure] for layer in self.layers])

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "steps", "layers" or "clusters"."""
        columns = self.columns(table)
        make = tables.ROWS[next(iter(tables.ROWS)) if table is None else table]
        return [{column: row.get(column) for column in columns} for row in make(self)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Steps, names, and every figure as an array of (layers, steps)."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "steps": np.array(self.steps, dtype=np.int64),
            "since": np.array(self.since, dtype=np.int64),
            "layers": np.array([layer.layer for layer in self.layers], dtype=np.str_),
            "tensors": np.array([layer.tensor for layer in self.layers], dtype=np.str_),
        }
        return arrays | {figure: self.curves(figure) for figure in FIGURES}

    def chart(self) -> alt.Chart | alt.LayerChart | alt.VConcatChart:
        """The curves of all layers, coloured by what moves alike."""
        from weightatlas.change.charts import curves_chart

        return curves_chart(self)

    def plates(self) -> Sequence[Plate]:
        """Findings, the table of layers, curves, heat map, groups, stopped layers."""
        from weightatlas.change.plates import change_plates

        return change_plates(self)
