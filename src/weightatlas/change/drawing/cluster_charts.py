"""How many clusters there are, and how far they can be trusted, without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.change.drawing.panels import group_title
from weightatlas.change.drawing.thinning import short
from weightatlas.drawing.axes import inline, ticks_axis

if TYPE_CHECKING:
    from weightatlas.change.clusters.groups import LayerGroup
    from weightatlas.change.clusters.scree import Scree
    from weightatlas.change.clusters.stability import Stability
    from weightatlas.change.trends import Trends

CURVES, COMPONENTS = "curves", "two components"
PANEL: Final = (250, 170)
NULL_RANGE: Final = (2.5, 97.5)
"""Percentiles of the tables without groups that the grey bars span."""


def scree_chart(trends: Trends) -> alt.VConcatChart:
    """What each number of clusters would leave unexplained, how apart the clusters would lie, and their stability.

    A row of three panels for each group of layers that has a choice. Rings mark the number taken; grey bars hold 95 %
    of tables without groups.
    """
    rows = [
        alt.hconcat(*_scree_panels(group, group.scree, titled=len(trends.groups) > 1), spacing=34).resolve_scale(
            color="independent"
        )
        for group in trends.groups
        if group.scree is not None
    ]
    joined: alt.VConcatChart = alt.vconcat(*rows, spacing=26).resolve_scale(color="independent")
    return joined


def scree_rows(trends: Trends) -> list[dict[str, Any]]:
    """The data behind it: a row for each number of clusters of each group."""
    return [
        {
            "group": group.name,
            "clusters": count,
            "sse_curves": short(group.scree.curves[place]),
            "sse_pca": short(group.scree.pca[place]),
            "silhouette": short(group.scree.silhouette[place]),
            "bic": short(group.scree.bic[place], 7),
            "taken": count == group.scree.taken,
        }
        for group in trends.groups
        if group.scree is not None
        for place, count in enumerate(group.scree.clusters)
    ]


def _scree_panels(group: LayerGroup, scree: Scree, *, titled: bool) -> list[alt.LayerChart]:
    drawn = [_unexplained(scree)]
    if np.isfinite(scree.silhouette).any():
        drawn.append(_apart(scree))
    if group.stability is not None:
        drawn.append(_stability(group.stability))
    sized = [panel.properties(width=PANEL[0], height=PANEL[1]) for panel in drawn]
    if titled:
        sized[0] = sized[0].properties(title=group_title(group.name, len(group.fitted)))
    return sized


def _unexplained(scree: Scree) -> Any:  # noqa: ANN401 - Altair's layers are of several types
    """What clusters leave of the squared distances, on the curves and on their components."""
    series = {CURVES: scree.curves, COMPONENTS: scree.pca}
    rows = [
        {
            "clusters": count,
            "of": name,
            "left": short(values[place] / values[0]),
            "taken": count == scree.taken and name == CURVES,
        }
        for name, values in series.items()
        if values[0] > 0
        for place, count in enumerate(scree.clusters)
    ]
    percent = alt.Axis(format="%", tickCount=4)
    scale = alt.Scale(domain=list(series), range=[palette.INK, palette.GREY])
    base = inline(rows).encode(
        x=_clusters_axis(scree),
        y=alt.Y("left:Q", title="left unexplained", scale=alt.Scale(domain=[0, 1]), axis=percent),
        color=alt.Color("of:N", title=None, scale=scale, legend=alt.Legend(orient="top-right")),
        tooltip=["clusters:Q", "of:N", alt.Tooltip("left:Q", format=".1%")],
    )
    return _curve(base)


def _apart(scree: Scree) -> Any:  # noqa: ANN401 - as above
    """How far apart so many clusters would lie."""
    rows = [
        {"clusters": count, "silhouette": short(value), "taken": count == scree.taken}
        for count, value in zip(scree.clusters, scree.silhouette, strict=True)
        if np.isfinite(value)
    ]
    base = inline(rows).encode(
        x=_clusters_axis(scree),
        y=alt.Y("silhouette:Q", title="mean silhouette", axis=alt.Axis(tickCount=4)),
        color=alt.value(palette.INK),
        tooltip=["clusters:Q", alt.Tooltip("silhouette:Q", format=".2f")],
    )
    return _curve(base)


def _clusters_axis(scree: Scree) -> alt.X:
    ends = alt.Scale(domain=[scree.clusters[0], scree.clusters[-1]], nice=False)
    return alt.X("clusters:Q", title="clusters", scale=ends, axis=ticks_axis(scree.clusters, format="d"))


def _curve(base: alt.Chart) -> Any:  # noqa: ANN401 - as above
    """A line with its points, and a ring round what was taken."""
    line = base.mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=22))
    ring = base.mark_point(filled=False, size=170, strokeWidth=2).encode(
        color=alt.value(palette.ACCENT), opacity=alt.when(alt.datum.taken).then(alt.value(1)).otherwise(alt.value(0))
    )
    return alt.layer(line, ring)


def _stability(found: Stability) -> Any:  # noqa: ANN401 - as above
    """What was found beside what tables without groups give."""
    rows: list[dict[str, Any]] = []
    for name, value, null in (
        ("found again in subsets", found.resampled, found.null_resampled),
        ("mean silhouette", found.separation, found.null_separation),
    ):
        known = null[np.isfinite(null)]
        low, high = np.percentile(known, NULL_RANGE).tolist() if known.size else (None, None)
        rows.append({"measure": name, "value": short(value), "low": low and short(low), "high": high and short(high)})
    rows.append({"measure": "from other starts", "value": short(found.inits), "low": None, "high": None})
    axis = alt.Axis(labelLimit=150, ticks=False, domain=False)
    base = inline(rows).encode(y=alt.Y("measure:N", title=None, sort=None, axis=axis))
    scale = alt.Scale(
        domain=[min(0.0, *(row["low"] or 0.0 for row in rows), *(row["value"] or 0.0 for row in rows)), 1]
    )
    null = base.mark_bar(color=palette.NULL, size=16).encode(
        x=alt.X("low:Q", title="adjusted Rand index, silhouette", scale=scale, axis=alt.Axis(tickCount=4)), x2="high:Q"
    )
    colour = palette.ACCENT if found.stable else palette.GREY
    dots = base.mark_point(filled=True, size=60, opacity=1, color=colour).encode(
        x=alt.X("value:Q", scale=scale), tooltip=["measure:N", alt.Tooltip("value:Q", format=".2f")]
    )
    return alt.layer(null, dots)
