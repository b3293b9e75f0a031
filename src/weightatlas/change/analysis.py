"""What follows from the curves of a run: layers that move alike, layers that have stopped, change against depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from weightatlas.change.clusters.pipeline import DEFAULT, Choice, Pipeline
from weightatlas.change.depth import DepthTrend, depth_trend
from weightatlas.change.stopped import stopped
from weightatlas.change.trends import Trends, trends

if TYPE_CHECKING:
    from weightatlas.change.changes import Changes

Figure = Literal["ratio_l1", "elementwise", "ratio_l2"]
"""The figures whose curves can be clustered."""

RECORDS: Final = 3
"""Values that a curve needs to have a shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What is made of a run's curves.

    Attributes:
        figure: whose curves are clustered and set against depth; layers have stopped by `ratio_l1`, always.
        pipeline: the steps of the clustering, as in `trends`.
        clusters: how many clusters, or how to choose; the pipeline's choice if None.
        by_role: cluster depthwise, pointwise, pointwise-linear and squeeze-excite layers each among themselves.
        below: a layer has stopped when it changes less than this part of the median layer, as in `stopped`.
        records: for at least so many records, to the end.
        seed: of every random draw.

    Raises:
        ValueError: there is no such figure, or no such number of clusters or way to choose it.
    """

    figure: Figure = "ratio_l1"
    pipeline: Pipeline = DEFAULT
    clusters: int | Choice | None = None
    by_role: bool = False
    below: float = 0.1
    records: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.figure not in get_args(Figure):
            message = f"figure must be one of {', '.join(get_args(Figure))}, not {self.figure!r}"
            raise ValueError(message)
        if isinstance(self.clusters, str):
            replace(self.pipeline, clusters=self.clusters)
        elif self.clusters is not None and self.clusters < 1:
            message = f"clusters must be 1 or more, not {self.clusters}"
            raise ValueError(message)


def analysed(changes: Changes, analysis: Analysis) -> Changes:
    """Add to a run's figures what follows from them.

    Args:
        changes: from `survey` or `read_records`. A run of fewer than three changes has no trends, one of fewer than
            `records` no stopped layers: those fields stay None.
        analysis: what is made of them.

    Raises:
        ValueError: an option of the clustering is out of range.
    """
    enough = len(changes.steps) >= RECORDS and bool(changes.layers)
    return replace(
        changes,
        figure=analysis.figure,
        trends=_trends(changes, analysis) if enough else None,
        stopped=stopped(
            changes.curves("ratio_l1"),
            changes.steps,
            names=changes.names,
            below=analysis.below,
            records=analysis.records,
        )
        if changes.layers and len(changes.steps) >= analysis.records
        else None,
        depth=_depth(changes, analysis) if changes.layers else None,
    )


def _trends(changes: Changes, analysis: Analysis) -> Trends:
    import pandas as pd

    curves = changes.curves(analysis.figure)
    return trends(
        pd.DataFrame(curves, columns=list(changes.steps)),  # a record is called by its step
        names=changes.names,
        roles=[layer.role for layer in changes.layers],
        pipeline=analysis.pipeline,
        clusters=analysis.clusters,
        by_role=analysis.by_role,
        seed=analysis.seed,
    )


def _depth(changes: Changes, analysis: Analysis) -> DepthTrend:
    """The median change of every layer against its place in the network and the number of its weights."""
    curves = changes.curves(analysis.figure)
    known = np.isfinite(curves)
    middle = np.array(
        [np.median(curve[has]) if has.any() else np.nan for curve, has in zip(curves, known, strict=True)]
    )
    sizes = np.array([layer.parameters for layer in changes.layers], dtype=np.float64)
    return depth_trend(middle, np.arange(len(middle), dtype=np.float64), sizes, seed=analysis.seed)
