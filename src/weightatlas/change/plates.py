"""How a run's weight change is shown: findings, layers, curves, heat map, clusters, stopped layers, depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.change.charts import curves_chart, curves_rows, pair_chart
from weightatlas.change.drawing import captions
from weightatlas.change.drawing.cluster_charts import scree_chart, scree_rows
from weightatlas.change.drawing.cluster_map import map_chart, map_rows, mapped
from weightatlas.change.drawing.heat_map import heat_map, heat_map_rows
from weightatlas.change.drawing.layer_charts import depth_chart, depth_rows, stopped_chart, stopped_rows
from weightatlas.change.drawing.outlier_chart import outliers_chart, outliers_rows, outlying
from weightatlas.change.drawing.thinning import median
from weightatlas.change.findings import (
    amount,
    change_findings,
    clusters_title,
    depth_title,
    layers_title,
    moves,
    span,
    stopped_title,
    unit,
)
from weightatlas.plate import Chart, Column, Heading, Plate, Subject, Table
from weightatlas.wording import capitalized, counted

if TYPE_CHECKING:
    from weightatlas.change.changes import Changes
    from weightatlas.change.depth import DepthTrend
    from weightatlas.change.stopped import Stopped
    from weightatlas.change.trends import Trends

HALVES: Final = 2
"""Layers that a heat map is drawn of, at least."""


def change_plates(changes: Changes) -> list[Plate]:
    """All plates of a run; of a pair of checkpoints, those that one step can fill."""
    plates: list[Plate] = [_subject(changes), *change_findings(changes), _table(changes)]
    if not np.isfinite(changes.curves(changes.figure)).any():
        return plates
    if len(changes.steps) == 1:
        plates.append(_pair(changes))
    else:
        plates.append(_curves(changes))
        plates += [_heat_map(changes)] if np.nanmax(changes.curves(changes.figure)) > 0 else []
    if changes.trends is not None:
        plates += _clusters(changes, changes.trends)
    if changes.stopped is not None and moves(changes.stopped):
        plates.append(_stopped(changes, changes.stopped))
    if changes.depth is not None and math.isfinite(changes.depth.partial):
        plates.append(_depth(changes, changes.depth))
    return plates


def _subject(changes: Changes) -> Subject:
    weights = sum(layer.parameters for layer in changes.layers)
    return Subject(
        changes.source, (span(changes), counted(len(changes.layers), "layer"), f"{weights:,} weights in them")
    )


def _table(changes: Changes) -> Table:
    rows: list[dict[str, Any]] = list(changes.rows("layers"))
    for row, name in zip(rows, changes.names, strict=False):
        row["layer"] = name
        row["outlier"] = (row["outlier"] or "").partition(":")[0] or None  # figures stand beside it, and on its plate
    step = capitalized(unit(changes))
    columns = [
        Column("layer", "layer", "layer"),
        Column("role", "role"),
        Column("parameters", "weights", "integer"),
        Column("ratio_l1_median", "change", "share", digits=5, description="median relative change from step to step"),
        Column("ratio_l1_first", "first", "share", digits=5, description="relative change at the first step"),
        Column("ratio_l1_last", "last", "share", digits=5, description="relative change at the last step"),
        Column("from_start_last", "from start", "share", digits=3, description="distance from the first weights"),
        Column("cluster", "cluster", "integer", description="of layers that move alike; 0 moves most"),
        Column("stopped_at", "stopped", "integer", description=f"{step} from which it has hardly changed"),
        Column("outlier", "what sets it apart", "text"),
    ]
    if len(changes.steps) == 1:
        gone = {"ratio_l1_first", "ratio_l1_last", "from_start_last", "cluster", "stopped_at", "outlier"}
        columns = [column for column in columns if column.key not in gone]
    at = [row["stopped_at"] is not None for row in rows]
    reading = ["One row a layer, in the order of the network. Changes are in per cent of the weights' size before."]
    if len(changes.steps) > 1:
        reading.append("From start is the distance from the first weights, in per cent of theirs.")
    if any(at):
        reading.append("A filled accent marks layers that have stopped.")
    return Table(
        Heading(
            key="layers",
            title=layers_title(changes),
            reading=" ".join(reading),
            method=f"{captions.FORMULAS['ratio_l1']} {captions.LAYERS}",
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        marked=tuple(at) if any(at) else (),
    )


def _pair(changes: Changes) -> Chart:
    middle = float(median(changes.curves(changes.figure), 0)[0])
    return Chart(
        Heading(
            key="pair",
            title=f"From one checkpoint to the other the median layer changes by {amount(middle)}",
            reading=(
                "A dot a layer, from the input at the left, coloured by its role; the dashed line is the median "
                "layer. The scale is logarithmic; what lies at its foot did not change."
            ),
            method=f"{captions.FORMULAS[changes.figure]} {captions.LAYERS}",
        ),
        spec=pair_chart(changes).to_dict(),
        rows=tuple(row for row in changes.rows("layers") if row["skipped"] is None),
    )


def _curves(changes: Changes) -> Chart:
    return Chart(
        Heading(
            key="curves",
            title=_curves_title(changes),
            reading=captions.curves_reading(changes),
            method=captions.curves_method(changes),
        ),
        spec=curves_chart(changes).to_dict(),
        rows=tuple(curves_rows(changes)),
    )


def _curves_title(changes: Changes) -> str:
    middle = median(changes.curves(changes.figure), 0)
    known = middle[np.isfinite(middle)]
    if len(known) < 2 or known[0] == known[-1] or captions.uneven(changes):
        return f"Change {span(changes)}"
    way = "falls" if known[-1] < known[0] else "rises"
    return f"The median layer's change {way} from {amount(known[0])} at first to {amount(known[-1])} at last"


def _heat_map(changes: Changes) -> Chart:
    return Chart(
        Heading(
            key="heat-map",
            title=_heat_map_title(changes),
            reading=captions.heat_map_reading(changes),
            method=captions.heat_map_method(changes),
        ),
        spec=heat_map(changes, relative=True).to_dict(),
        rows=tuple(heat_map_rows(changes, relative=True)),
    )


def _heat_map_title(changes: Changes) -> str:
    """How far apart the early and the late half of the network are, at the first step and at the last."""
    curves = changes.curves(changes.figure)
    if len(curves) < 2 * HALVES:
        return "Which layers change more than the others, and when"
    early, late = (median(half, 0) for half in np.array_split(curves, 2))
    ratios = np.divide(late, early, out=np.full(len(early), np.nan), where=early > 0)
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    if not known.size:
        return "Which layers change more than the others, and when"
    first, last = (f"{ratio:.2g} times" for ratio in (known[0], known[-1]))
    return f"The later half of the layers changes {first} as much as the earlier at first, {last} at last"


def _clusters(changes: Changes, trends: Trends) -> list[Plate]:
    """The map, the scree and the outliers, where there is something to draw."""
    tried = any(group.scree is not None for group in trends.groups)
    plates: list[Plate] = []
    if tried and mapped(trends):
        plates.append(_map(trends))
    if tried:
        plates.append(_scree(changes, trends))
    if any(tried or layer.cluster is None for layer in outlying(trends)):
        plates.append(_outliers(changes, trends))
    return plates


def _map(trends: Trends) -> Chart:
    return Chart(
        Heading(
            key="map",
            title=_map_title(trends),
            reading=(
                "A dot a layer; near each other are layers whose curves are alike. Tinted regions lie nearest to one "
                "cluster's mean, whose number stands in them. Rings belong to no cluster; one at the edge lies beyond "
                "it."
            ),
            method=f"Principal components of the prepared curves. {captions.clusters_method(trends)}",
            null=captions.clusters_null(trends),
        ),
        spec=map_chart(trends).to_dict(),
        rows=tuple(map_rows(trends)),
    )


def _scree(changes: Changes, trends: Trends) -> Chart:
    return Chart(
        Heading(
            key="scree",
            title=clusters_title(changes),
            reading=(
                "Left: the squared distance to cluster centres that is left with so many clusters, on the curves and "
                "on two components. Middle: how far apart clusters would lie. The ring is the number taken. Right: "
                "whether they are found again; grey holds 95% of tables without groups, and a dot in the accent says "
                "that the clustering is stable."
            ),
            method=(
                f"{captions.clusters_method(trends)} Found again: adjusted Rand index with clusterings of subsets of "
                f"the layers ({trends.pipeline.resamples}) and from other starts ({trends.pipeline.inits})."
            ),
            null=captions.clusters_null(trends),
        ),
        spec=scree_chart(trends).to_dict(),
        rows=tuple(scree_rows(trends)),
    )


def _map_title(trends: Trends) -> str:
    first = mapped(trends)[0]
    if len(mapped(trends)) > 1:
        return "Layers whose curves are alike lie together, a panel for each group"
    return f"Two components hold {sum(first.explained):.0%} of how the layers' curves differ"


def _outliers(changes: Changes, trends: Trends) -> Chart:
    found = outlying(trends)
    values = sum(len(layer.replaced) for layer in found)
    alone = sum(layer.cluster is None for layer in found)
    parts = [counted(alone, "layer") + " in no cluster"] if alone else []
    parts += [counted(values, "value") + " replaced before clustering"] if values else []
    return Chart(
        Heading(
            key="outliers",
            title=capitalized(" and ".join(parts)) if parts else "What sets layers apart",
            reading=(
                "In the accent, by name, layers that no cluster holds; in grey, layers of which values were replaced, "
                "a ring at each. The band holds eight of ten layers in clusters at each step."
            ),
            method=captions.outliers_method(trends),
        ),
        spec=outliers_chart(changes, trends).to_dict(),
        rows=tuple(outliers_rows(trends)),
    )


def _stopped(changes: Changes, stopped: Stopped) -> Chart:
    return Chart(
        Heading(
            key="stopped",
            title=stopped_title(changes),
            reading=captions.stopped_reading(stopped),
            method=captions.stopped_method(stopped),
        ),
        spec=stopped_chart(changes, stopped).to_dict(),
        rows=tuple(stopped_rows(stopped)),
    )


def _depth(changes: Changes, trend: DepthTrend) -> Chart:
    low, high = trend.interval
    return Chart(
        Heading(
            key="depth",
            title=depth_title(trend),
            reading=(
                f"A dot a layer; above each panel is its rank correlation, −1 to 1. {_confounded(trend)}; the right "
                f"panel shows what is left of depth when size is known."
            ),
            method=(
                f"Spearman's correlation of the median change of each layer with its place in the network and its "
                f"number of weights; in the right panel of what a straight line on the ranks of size leaves of both "
                f"ranks. Its {trend.confidence:.0%} interval over layers drawn anew is {low:+.2f} to {high:+.2f}, p = "
                f"{trend.p:.3f}."
            ),
            null=captions.DEPTH_NULL,
        ),
        spec=depth_chart(changes, trend).to_dict(),
        rows=tuple(depth_rows(changes)),
    )


def _confounded(trend: DepthTrend) -> str:
    """How far depth and size go together."""
    if math.isnan(trend.size_with_depth):
        return "All layers here have as many weights as each other"
    return f"Depth and size go together in most networks (here {trend.size_with_depth:+.2f})"
