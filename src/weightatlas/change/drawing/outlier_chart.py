"""Outliers of a run: layers that move like no other, values that were replaced; without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.change.charts import curves_range
from weightatlas.change.drawing.axes import FIGURE_TITLES
from weightatlas.change.drawing.thinning import CELLS, thinned
from weightatlas.drawing.axes import axis_names, inline, series, spread, step_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.change.changes import Changes
    from weightatlas.change.clusters.groups import LayerTrend
    from weightatlas.change.trends import Trends
    from weightatlas.drawing.axes import LogRange

HEIGHT: Final = 280
BAND: Final = (10.0, 90.0)
"""Percentiles of the layers in clusters that the band spans."""
NAMED: Final = 12
"""Layers that are named at the ends of their lines at most."""
LABEL: Final = 13
APART, REPLACED = "in no cluster", "values replaced"


def outliers_chart(changes: Changes, trends: Trends) -> alt.LayerChart:
    """The curves of layers that no cluster holds, before a band of those in clusters; rings are values replaced."""
    curves = trends.curves
    reach = curves_range(curves)
    found = outlying(trends)
    place = {name: index for index, name in enumerate(trends.names)}
    thin = thinned(curves[[place[layer.name] for layer in found]], cells=CELLS // 2, join_layers=False)
    rows = [
        {"layer": layer.name, "state": _state(layer), "ratio": [reach.placed(value) for value in values.tolist()]}
        for layer, values in zip(found, thin.values, strict=True)
    ]
    rings = [
        {"layer": layer.name, "step": changes.steps[at], "ratio": reach.placed(float(curves[place[layer.name], at]))}
        for layer in found
        for at in layer.replaced
        if np.isfinite(curves[place[layer.name], at])
    ]
    x = step_axis(changes.steps, changes.unit)
    y = alt.Y("ratio:Q", title=FIGURE_TITLES[changes.figure], scale=reach.scale(), axis=reach.axis())
    scale = alt.Scale(domain=[APART, REPLACED], range=[palette.ACCENT, palette.GREY])
    tooltip = ["layer:N", "step:Q", alt.Tooltip("ratio:Q", title="change", format=".3~g")]
    lines = series(rows, [changes.steps[column.stop - 1] for column in thin.columns]).mark_line(strokeWidth=1.3)
    points = inline(rings).mark_point(filled=False, size=50, strokeWidth=1.6, color=palette.ACCENT)
    drawn = alt.layer(
        _band(changes, trends, reach, x),
        lines.encode(x=x, y=y, color=alt.Color("state:N", scale=scale, legend=None), detail="layer:N", tooltip=tooltip),
        points.encode(x=x, y=y, tooltip=tooltip),
    )
    apart = [layer.name for layer in found if layer.cluster is None]
    ends = {name: curves[place[name]] for name in apart[:NAMED]}
    layered: Any = alt.layer(drawn, _names(changes, ends, reach)).resolve_scale(y="independent")
    chart: alt.LayerChart = layered.properties(width="container", height=HEIGHT)
    return chart


def outlying(trends: Trends) -> list[LayerTrend]:
    """Layers with something that sets them apart: those without a cluster first, then by how much was replaced."""
    found = [layer for layer in trends.layers if layer.outlier is not None or layer.replaced or layer.reason]
    return sorted(found, key=lambda layer: (layer.cluster is not None, -len(layer.replaced)))


def outliers_rows(trends: Trends) -> list[dict[str, Any]]:
    """The data behind it: a row for each layer with an outlier."""
    return [
        {
            "layer": layer.name,
            "outlier": layer.outlier or layer.reason,
            "cluster": layer.cluster,
            "values_replaced": len(layer.replaced),
            "records": ", ".join(trends.records[place] for place in layer.replaced),
        }
        for layer in outlying(trends)
    ]


def _state(layer: LayerTrend) -> str:
    return APART if layer.cluster is None else REPLACED


def _band(changes: Changes, trends: Trends, reach: LogRange, x: alt.X) -> alt.Chart:
    """Where most layers in clusters lie."""
    inside = [index for index, layer in enumerate(trends.layers) if layer.cluster is not None]
    thin = thinned(trends.curves[inside], cells=CELLS, join_layers=False) if inside else None
    rows = []
    for values, column in zip(thin.values.T, thin.columns, strict=True) if thin else ():
        known = values[np.isfinite(values)]
        if known.size:
            low, high = (reach.placed(end) for end in np.percentile(known, BAND).tolist())
            rows.append({"step": changes.steps[column.stop - 1], "low": low, "high": high})
    y = alt.Y("low:Q", title=FIGURE_TITLES[changes.figure], scale=reach.scale(), axis=reach.axis())
    chart: alt.Chart = inline(rows).mark_area(color=palette.NULL, opacity=1).encode(x=x, y=y, y2="high:Q")
    return chart


def _names(changes: Changes, curves: dict[str, npt.NDArray[np.float64]], reach: LogRange) -> alt.Chart:
    """Names at the ends of lines."""
    texts = _ends(curves)
    places = spread([reach.share(value) * HEIGHT for _, value in texts], LABEL)
    rows = [
        {"text": text, "step": changes.steps[-1], "up": round(place, 1)}
        for (text, _), place in zip(texts, places, strict=True)
    ]
    up = alt.Y("up:Q", scale=alt.Scale(domain=[0, HEIGHT], nice=False), axis=None)
    names = inline(rows).mark_text(align="left", dx=8, baseline="middle", fontSize=11, color=palette.ACCENT)
    chart: alt.Chart = names.encode(x=step_axis(changes.steps, changes.unit), y=up, text="text:N")
    return chart


def _ends(curves: dict[str, npt.NDArray[np.float64]]) -> Sequence[tuple[str, float]]:
    known = {name: values[np.isfinite(values)] for name, values in curves.items()}
    kept = [name for name, values in known.items() if values.size]
    return [(text, float(known[name][-1])) for text, name in zip(axis_names(kept), kept, strict=True)]
