"""Layers against steps: where and when a network changes, a cell a layer and step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.change.drawing.thinning import median, pieces, short_list, thinned
from weightatlas.drawing.axes import axis_names, inline, names_axis, round_ticks, ticks_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.change.changes import Changes
    from weightatlas.change.drawing.thinning import Thinned

TALLEST: Final = 640
"""Pixels of the whole map, however many layers it has."""
ROW: Final = 15
"""Pixels of a row at most."""
LABEL: Final = 12
"""Pixels that the name of a layer needs."""
ACROSS: Final = 12
"""Labels along x."""
ENDS: Final = (2.0, 98.0)
"""Percentiles between which the colours run; what lies beyond has the colour at the end."""
SPAN: Final = 300.0
"""How many times the change at the palest colour the darkest may be: more, and a few still layers would take them all.
"""
NOTHING: Final = 1e-12
"""What no change at all counts as on a logarithmic scale: it has the colour at its end."""
REACHES: Final = (2.0, 5.0, 10.0)
"""How far from the median the colours may go; a layer that has stopped lies below a tenth of it."""
THICK: Final = 6
"""Pixels of a row from which the line through it begins with a dot."""
MARKS: Final = ("rgb(140,51,16)", "white")
"""The line through stopped layers on palest brown and on blue; by night, too, since the cells keep their colours."""


def heat_map(changes: Changes, *, relative: bool = False) -> alt.LayerChart:
    """Layers from the input down, steps to the right, colour the logarithm of the change.

    Cells without figures are empty and crossed; a line runs through the cells of a layer that has stopped. Neighbouring
    steps, and beyond 500 layers neighbouring layers, are put together by their median, so that 6,000 cells are left.

    Args:
        changes: of a run.
        relative: colour by the ratio to the median layer of each step, which takes out what all layers do together.
    """
    thin = thinned(over_median(changes) if relative else changes.curves(changes.figure))
    texts = step_texts(changes.steps, thin)
    labels = [row_name(changes, row) for row in thin.rows]
    height = max(1, min(ROW, TALLEST // max(len(labels), 1))) * len(labels)
    places = list(range(len(texts)))
    rows = [
        {"row": place, "layer": label, "column": places, "ratio": short_list(values, 3)}
        for place, (label, values) in enumerate(zip(labels, thin.values, strict=True))
    ]
    down = alt.Scale(domain=list(range(len(labels))), padding=0, round=True)
    y = alt.Y("row:O", title=None, sort=None, axis=_layer_axis(labels, height), scale=down)
    across = alt.Scale(domain=texts, padding=0, round=True)
    x = alt.X("step:O", title=changes.unit, sort=None, axis=_step_axis(texts), scale=across)
    flat = inline(rows).transform_flatten(["column", "ratio"])
    base = flat.transform_calculate(
        step=f"{json.dumps(texts)}[datum.column]", seen=f"max(datum.ratio, {NOTHING})"
    ).encode(x=x, y=y)
    tooltip = ["layer:N", "step:N", alt.Tooltip("ratio:Q", title="change", format=".3~g")]
    known = base.transform_filter("isValid(datum.ratio)")
    cells = known.mark_rect().encode(color=_colour(thin.values, relative), tooltip=tooltip)
    empty = base.transform_filter("!isValid(datum.ratio)").mark_point(
        shape="cross", angle=45, size=14, color=palette.GREY, filled=True, opacity=0.6
    )
    layered: Any = alt.layer(cells, empty, *_stopped_marks(changes, thin, texts, y, MARKS[relative]))
    chart: alt.LayerChart = layered.properties(width="container", height=height)
    return chart


def heat_map_rows(changes: Changes, *, relative: bool = False) -> list[dict[str, Any]]:
    """The data behind it: a plain table, a row a layer and a column a step."""
    thin = thinned(over_median(changes) if relative else changes.curves(changes.figure))
    texts = step_texts(changes.steps, thin)
    return [
        {"layer": row_name(changes, row)} | dict(zip(texts, short_list(values, 3), strict=True))
        for row, values in zip(thin.rows, thin.values, strict=True)
    ]


def over_median(changes: Changes) -> npt.NDArray[np.float64]:
    """Every change over that of the median layer that moves at its step; NaN where none does or it is not known.

    Where it is known which layers have stopped, the median is the one that they were judged by.
    """
    curves = changes.curves(changes.figure)
    if changes.stopped is not None and changes.figure == "ratio_l1":
        middle = changes.stopped.reference
    else:
        middle = median(np.where(curves > 0, curves, np.nan), 0)
    ratios: npt.NDArray[np.float64] = np.divide(curves, middle, out=np.full(curves.shape, np.nan), where=middle > 0)
    return ratios


def step_texts(steps: Sequence[int], thin: Thinned) -> list[str]:
    """What each column is called: its step, or the first and the last of those put together."""
    return [
        f"{steps[column.start]:,}" if len(column) == 1 else f"{steps[column.start]:,} to {steps[column.stop - 1]:,}"
        for column in thin.columns
    ]


def row_name(changes: Changes, row: range) -> str:
    """The name of a layer, or of the first and the last of those put together."""
    names = changes.names
    return names[row.start] if len(row) == 1 else f"{names[row.start]} to {names[row.stop - 1]}"


def colour_reach(values: npt.NDArray[np.float64]) -> float:
    """How many times the median, and what part of it, the colours of a relative map end at."""
    low, high = _ends(values)
    return next((reach for reach in REACHES if max(high, 1 / low) <= reach), REACHES[-1])


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return 0.5, 1.0
    low, high = np.percentile(known, ENDS).tolist()
    return low, high


def _layer_axis(labels: Sequence[str], height: float) -> alt.Axis:
    """Every nth name."""
    shown = [piece.start for piece in pieces(len(labels), max(1, int(height // LABEL)))]
    texts = dict(zip(shown, axis_names([labels[place] for place in shown]), strict=True))
    return names_axis([texts.get(place, "") for place in range(len(labels))], shown)


def _step_axis(texts: Sequence[str]) -> alt.Axis:
    shown = [texts[piece.start] for piece in pieces(len(texts), ACROSS)]
    return ticks_axis(shown, labelExpr="split(datum.label, ' ')[0]", labelAngle=0, labelOverlap=True)


def _colour(values: npt.NDArray[np.float64], relative: bool) -> alt.Color:
    low, high = _ends(values)
    stops: Sequence[float]
    colours: Sequence[str]
    if relative:
        reach = colour_reach(values)
        stops, colours, title = (1 / reach, 1, reach), palette.DIVERGING, "times the median"
    else:
        stops = np.geomspace(max(low, high / SPAN), high * 1.01, len(palette.SEQUENTIAL)).tolist()
        colours, title = palette.SEQUENTIAL, "change"
    scale = alt.Scale(type="log", domain=short_list(stops), range=list(colours), clamp=True, interpolate="rgb")
    ticks = [1 / reach, 1, reach] if relative else round_ticks(stops[0], stops[-1], most=4)
    legend = alt.Legend(
        gradientLength=140,
        gradientThickness=10,
        format=".2~g",
        orient="top",
        values=ticks,
        tickCount=len(ticks),
    )
    return alt.Color("seen:Q", title=title, scale=scale, legend=legend)


def _stopped_marks(changes: Changes, thin: Thinned, texts: Sequence[str], y: alt.Y, mark: str) -> list[alt.Chart]:
    """A line through the cells of every layer that has stopped, from where it did to the end."""
    if changes.stopped is None:
        return []
    at = dict(zip(changes.stopped.names, changes.stopped.stopped_at, strict=True))
    rows: list[dict[str, Any]] = []
    for place, row in enumerate(thin.rows):
        steps = [step for layer in row if (step := at.get(changes.names[layer])) is not None]
        if len(steps) == len(row):
            first = thin.column_of(changes.steps.index(max(steps)))
            rows.append({"row": place, "since": texts[first], "end": texts[-1], "text": f"since {max(steps):,}"})
    if not rows:
        return []
    base = inline(rows).encode(y=y)
    since, end = alt.X("since:O", sort=None), alt.X("end:O", sort=None, bandPosition=1)
    tall = TALLEST // len(thin.rows)
    line = base.mark_rule(color=mark, strokeWidth=1.4 if tall >= THICK else 0.7)
    marks = [line.encode(x=since, x2=alt.X2("end:O", bandPosition=1))]
    if tall >= THICK:
        marks.append(base.mark_point(color=mark, filled=True, size=22, opacity=1).encode(x=since))
    if len(thin.rows) * LABEL <= TALLEST:
        said = base.mark_text(align="left", dx=6, color=palette.ACCENT, fontSize=10)
        marks.append(said.encode(x=end, text="text:N"))
    return marks
