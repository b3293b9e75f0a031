"""The curves of a run's weight change, without a theme; of a pair of checkpoints, a dot a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.change.drawing.axes import FIGURE_TITLES
from weightatlas.change.drawing.panels import ALL, ALONE, cluster_name, layer_trends, line_colour, panels
from weightatlas.change.drawing.thinning import CELLS, Thinned, median, short, thinned
from weightatlas.drawing.axes import LogRange, axis_names, depth_axis, inline, series, spread, step_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.change.changes import Changes
    from weightatlas.change.clusters.groups import LayerGroup
    from weightatlas.change.drawing.panels import Panel

HEIGHT: Final = 320
PANEL_WIDTH: Final = 330
PANEL_HEIGHT: Final = 210
LABEL: Final = 15
"""Pixels from one label to the next."""
THIN_FROM: Final = 60
"""Layers in a panel from which their lines are drawn fainter."""
NAMED: Final = 3
"""Layers without a cluster that are named in a panel."""
FEW: Final = 5
"""Per cent of all values below which an axis may end."""
MEDIAN: Final = 400
"""Steps of a heavy line at most."""


def curves_chart(changes: Changes) -> alt.Chart | alt.LayerChart | alt.VConcatChart:
    """The change of every layer by step, coloured by what moves alike; of one step only, a dot a layer.

    Thin lines are layers, heavy ones the medians of clusters; a panel for each group of layers that were clustered
    together. Logarithmic; what did not change at all lies at the foot.
    """
    if len(changes.steps) == 1:
        return pair_chart(changes)
    reach = curves_range(changes.curves(changes.figure))
    shown = panels(changes)
    share = CELLS // max(1, len(shown))
    if len(shown) == 1:
        return _panel(changes, shown[0], reach, height=HEIGHT, cells=CELLS).properties(width="container", height=HEIGHT)
    drawn = [
        _panel(changes, panel, reach, height=PANEL_HEIGHT, cells=share).properties(
            width=PANEL_WIDTH, height=PANEL_HEIGHT, title=panel.title
        )
        for panel in shown
    ]
    rows = [
        alt.hconcat(*drawn[start : start + 2], spacing=28).resolve_scale(color="independent")
        for start in range(0, len(drawn), 2)
    ]
    joined: alt.VConcatChart = alt.vconcat(*rows, spacing=22).resolve_scale(color="independent")
    return joined


def curves_range(curves: npt.NDArray[np.float64]) -> LogRange:
    """The axis of curves: what lies ten times below nearly all of them is drawn at its foot."""
    known = curves[np.isfinite(curves) & (curves > 0)]
    return LogRange(curves, floor=float(np.percentile(known, FEW)) / 10 if known.size else 0.0)


def curves_rows(changes: Changes) -> list[dict[str, Any]]:
    """The data behind it: a plain table, a row a layer and a column a step, as `trends` takes it."""
    thin = thinned(changes.curves(changes.figure), join_layers=False)
    found = layer_trends(changes)
    columns = _ends(changes, thin)
    rows = []
    for name, layer, values in zip(changes.names, changes.layers, thin.values, strict=True):
        trend = found.get(name)
        head: dict[str, Any] = {"layer": name, "role": layer.role, "cluster": None if trend is None else trend.cluster}
        series = {f"{changes.unit} {step}": short(value) for step, value in zip(columns, values, strict=True)}
        rows.append(head | series)
    return rows


def pair_chart(changes: Changes) -> alt.LayerChart:
    """The change of every layer from one checkpoint to the next, by depth; a dot a layer, coloured by its role."""
    curve = changes.curves(changes.figure)[:, 0] if changes.layers else np.empty(0)
    reach = LogRange(curve)
    labels = axis_names(changes.names)
    rows = [
        {"depth": depth, "layer": name, "label": label, "role": layer.role, "ratio": reach.placed(value)}
        for depth, (name, label, layer, value) in enumerate(
            zip(changes.names, labels, changes.layers, curve, strict=True), start=1
        )
    ]
    base = inline(rows).encode(x=depth_axis(len(labels)))
    y = alt.Y("ratio:Q", title=FIGURE_TITLES[changes.figure], scale=reach.scale(), axis=reach.axis())
    roles = list(dict.fromkeys(layer.role for layer in changes.layers))
    domain, colours = _role_colours(roles)
    colour = alt.Color("role:N", title=None, scale=alt.Scale(domain=domain, range=colours))
    if len(roles) < 2:
        colour = colour.legend(None)
    stems = base.mark_rule(color=palette.RULE, strokeWidth=1).encode(y=y, y2=alt.YDatum(reach.low))
    dots = base.mark_point(filled=True, size=42, opacity=1).encode(
        y=y, color=colour, tooltip=["layer:N", "role:N", alt.Tooltip("ratio:Q", title="change", format=".3~g")]
    )
    middle = inline([{"median": short(float(median(curve[:, None], 0)[0]))}])
    rule = middle.mark_rule(color=palette.GREY, strokeDash=[4, 3]).encode(y=alt.Y("median:Q", scale=reach.scale()))
    layered: Any = alt.layer(stems, rule, dots)
    chart: alt.LayerChart = layered.properties(width="container", height=260)
    return chart


def _panel(changes: Changes, panel: Panel, reach: LogRange, *, height: int, cells: int) -> alt.LayerChart:
    """Curves of some layers, the medians of their clusters, and the names of both."""
    curves = changes.curves(changes.figure)
    x = step_axis(changes.steps, changes.unit)
    y = alt.Y("ratio:Q", title=FIGURE_TITLES[changes.figure], scale=reach.scale(), axis=reach.axis())
    colour = line_colour(panel.group)
    tooltip = ["layer:N", "role:N", "step:Q", alt.Tooltip("ratio:Q", title="change", format=".3~g")]
    thin = thinned(curves[list(panel.layers)], cells=cells, join_layers=False)
    lines = series(_line_rows(changes, panel, thin, reach), _ends(changes, thin)).encode(x=x, y=y)
    many = len(panel.layers) > THIN_FROM
    members = lines.mark_line(strokeWidth=0.6 if many else 0.9, opacity=0.35 if many else 0.5).encode(
        color=colour, detail="layer:N", tooltip=tooltip
    )
    medians = _medians(curves, panel)
    middle = thinned(np.stack([line for _, line in medians]), cells=MEDIAN * len(medians), join_layers=False)
    rows = [
        {"line": name, "ratio": _placed(values, reach)}
        for (name, _), values in zip(medians, middle.values, strict=True)
    ]
    heavy = series(rows, _ends(changes, middle)).mark_line(strokeWidth=2.6)
    labels = _labels(changes, [*medians, *_named(changes, curves, panel)], reach, height, panel.group)
    drawn = alt.layer(members, heavy.encode(x=x, y=y, color=colour))
    layered: Any = alt.layer(drawn, labels)
    chart: alt.LayerChart = layered.resolve_scale(y="independent")
    return chart


def _line_rows(changes: Changes, panel: Panel, thin: Thinned, reach: LogRange) -> list[dict[str, Any]]:
    found = layer_trends(changes)
    names = {cluster.number: cluster_name(cluster) for cluster in panel.group.clusters} if panel.group else {}
    rows: list[dict[str, Any]] = []
    for place, layer in enumerate(panel.layers):
        trend = found.get(changes.names[layer])
        line = ALONE if trend is None or trend.cluster is None else names[trend.cluster]
        head = {"layer": changes.names[layer], "role": changes.layers[layer].role, "line": line}
        rows.append(head | {"ratio": _placed(thin.values[place], reach)})
    return rows


def _ends(changes: Changes, thin: Thinned) -> list[int]:
    """The last step of each column."""
    return [changes.steps[column.stop - 1] for column in thin.columns]


def _placed(values: npt.NDArray[np.float64], reach: LogRange) -> list[float | None]:
    return [reach.placed(value) for value in values.tolist()]


def _medians(curves: npt.NDArray[np.float64], panel: Panel) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Name and curve of each cluster's median, or of that of all layers."""
    if panel.group is None or not panel.group.clusters:
        return [(ALL, median(curves[list(panel.layers)], 0))]
    return [(cluster_name(cluster), cluster.centre) for cluster in panel.group.clusters]


def _named(
    changes: Changes, curves: npt.NDArray[np.float64], panel: Panel
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Layers without a cluster in a panel that has clusters, where they are few."""
    found = layer_trends(changes)
    alone = [layer for layer in panel.layers if (trend := found.get(changes.names[layer])) and trend.cluster is None]
    if panel.group is None or len(alone) > NAMED:
        return []
    labels = axis_names(changes.names)
    return [(labels[layer], curves[layer]) for layer in alone]


def _labels(
    changes: Changes,
    lines: Sequence[tuple[str, npt.NDArray[np.float64]]],
    reach: LogRange,
    height: int,
    group: LayerGroup | None,
) -> alt.Chart:
    """Names at the right ends of lines, moved apart where lines end together."""
    ends = [(name, line[np.isfinite(line)][-1]) for name, line in lines if np.isfinite(line).any()]
    places = spread([reach.share(float(end)) * height for _, end in ends], LABEL)
    known = {ALL} if group is None else {cluster_name(cluster) for cluster in group.clusters}
    rows = [
        {"text": name, "line": name if name in known else ALONE, "step": changes.steps[-1], "up": round(place, 1)}
        for (name, _), place in zip(ends, places, strict=True)
    ]
    chart: alt.Chart = (
        inline(rows)
        .mark_text(align="left", dx=8, baseline="middle", fontSize=11)
        .encode(
            x=step_axis(changes.steps, changes.unit),
            y=alt.Y("up:Q", scale=alt.Scale(domain=[0, height], nice=False), axis=None),
            text="text:N",
            color=line_colour(group),
        )
    )
    return chart


def _role_colours(roles: Sequence[str]) -> tuple[list[str], list[str]]:
    return list(roles), [palette.CATEGORIES[place % len(palette.CATEGORIES)] for place in range(len(roles))]
