"""The charts of layers that have stopped, and of change against depth and size, without a theme."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np
from scipy.stats import rankdata

from weightatlas import palette
from weightatlas.change.drawing.axes import FIGURE_TITLES
from weightatlas.change.drawing.thinning import median, short, thinned
from weightatlas.drawing.axes import LogRange, axis_names, inline, series, spread, step_axis

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.change.changes import Changes
    from weightatlas.change.depth import DepthTrend
    from weightatlas.change.stopped import Stopped

HEIGHT: Final = 300
FOOT: Final = 30.0
"""How many times less than the line of those that have stopped is drawn at the foot."""
NAMED: Final = 16
"""Layers that have stopped and are named at the end of their lines; more are named in the table."""
LABEL: Final = 13
PANEL: Final = (250, 210)
STILL, MOVING = "has stopped", "moves"


def stopped_chart(changes: Changes, stopped: Stopped) -> alt.LayerChart:
    """Each layer's change over that of the network, by step; those that have stopped in the accent, from a dot on."""
    floor = stopped.below / FOOT
    reach = LogRange(np.append(stopped.relative.ravel(), [1.0, floor]), floor=floor)
    x = step_axis(changes.steps, changes.unit)
    y = alt.Y("ratio:Q", title="change over the median of layers that move", scale=reach.scale(), axis=reach.axis())
    scale = alt.Scale(domain=[STILL, MOVING], range=[palette.ACCENT, palette.GREY])
    colour = alt.Color("state:N", scale=scale, legend=None)
    thin = thinned(stopped.relative, join_layers=False)
    steps = [stopped.steps[column.stop - 1] for column in thin.columns]
    rows, dots = [], []
    for name, values, since in zip(stopped.names, thin.values, stopped.stopped_at, strict=True):
        state = MOVING if since is None else STILL
        ratios = [reach.placed(float(value)) for value in values]
        rows.append({"layer": name, "state": state, "ratio": ratios})
        if since is not None:
            value = stopped.relative[stopped.names.index(name), stopped.steps.index(since)]
            dots.append({"layer": name, "state": state, "step": since, "ratio": reach.placed(float(value))})
    tooltip = ["layer:N", "step:Q", alt.Tooltip("ratio:Q", title="over the network's", format=".3~g")]
    lines = series(rows, steps).encode(x=x, y=y, color=colour, detail="layer:N")
    moving = lines.transform_filter(f"datum.state == '{MOVING}'").mark_line(strokeWidth=0.7, opacity=0.4)
    still = lines.transform_filter(f"datum.state == '{STILL}'").mark_line(strokeWidth=1.8)
    rule = inline([{"ratio": stopped.below}]).mark_rule(color=palette.INK, strokeDash=[4, 3]).encode(y=y)
    ends = inline(dots).mark_point(filled=True, size=50, opacity=1).encode(x=x, y=y, color=colour, tooltip=tooltip)
    drawn = alt.layer(moving.encode(tooltip=tooltip), still.encode(tooltip=tooltip), rule, ends)
    layered: Any = alt.layer(drawn, _names(changes, stopped, reach)).resolve_scale(y="independent")
    chart: alt.LayerChart = layered.properties(width="container", height=HEIGHT)
    return chart


def stopped_rows(stopped: Stopped) -> list[dict[str, Any]]:
    """The data behind it: a row a layer, the last record's ratio beside when it stopped."""
    return [
        {
            "layer": name,
            "stopped_at": since,
            "stopped_at_undivided": undivided,
            "last_over_network": short(relative[-1]),
        }
        for name, since, undivided, relative in zip(
            stopped.names, stopped.stopped_at, stopped.stopped_at_undivided, stopped.relative, strict=True
        )
    ]


def depth_chart(changes: Changes, trend: DepthTrend) -> alt.HConcatChart:
    """Median change of every layer against its depth, against its size, and against depth with size taken out.

    Above each panel stands its rank correlation.
    """
    rows = depth_rows(changes)
    known = [row for row in rows if row["change"]]
    reach = LogRange([row["change"] for row in known])
    y = alt.Y("change:Q", title=f"median {FIGURE_TITLES[changes.figure]}", scale=reach.scale(), axis=reach.axis())
    sizes = LogRange([row["parameters"] for row in known])
    panels = (
        (alt.X("depth:Q", title="layer, from the input"), y, f"with depth: {trend.with_depth:+.2f}"),
        (
            alt.X("parameters:Q", scale=sizes.scale(), axis=sizes.axis(form="~s")),
            y,
            "all of one size" if math.isnan(trend.with_size) else f"with size: {trend.with_size:+.2f}",
        ),
        (
            alt.X("depth_given_size:Q", title="rank of depth, less what size tells"),
            alt.Y("change_given_size:Q", title="rank of change, likewise"),
            f"with depth given size: {trend.partial:+.2f}",
        ),
    )
    values = [
        {key: short(value, 5) if isinstance(value, float) else value for key, value in row.items()} for row in known
    ]
    drawn = []
    for across, up, title in panels:
        dots = alt.Chart().mark_point(filled=True, size=34, opacity=0.75, color=palette.INK)
        tooltip = ["layer:N", "depth:Q", "parameters:Q", alt.Tooltip("change:Q", format=".3~g")]
        panel = dots.encode(x=across, y=up, tooltip=tooltip)
        above = alt.TitleParams(title, frame="group", offset=14, fontSize=11.5)
        drawn.append(panel.properties(width=PANEL[0], height=PANEL[1], title=above))
    joined: alt.HConcatChart = alt.hconcat(*drawn, spacing=34, data=alt.InlineData(values=values))
    return joined


def depth_rows(changes: Changes) -> list[dict[str, Any]]:
    """The data behind it: a row a layer; ranks less what a straight line on the rank of size tells of them."""
    change = median(changes.curves(changes.figure), 1)
    sizes = np.array([layer.parameters for layer in changes.layers], dtype=np.float64)
    depths = np.arange(1.0, len(sizes) + 1)
    known = np.isfinite(change)
    given = np.full((2, len(sizes)), np.nan)
    if known.any():
        ranks = [rankdata(values[known]) for values in (depths, change, sizes)]
        given[0, known], given[1, known] = (_less(rank, ranks[2]) for rank in ranks[:2])
    return [
        {
            "layer": name,
            "depth": place + 1,
            "parameters": layer.parameters,
            "change": short(float(change[place])),
            "depth_given_size": short(float(given[0, place])),
            "change_given_size": short(float(given[1, place])),
        }
        for place, (name, layer) in enumerate(zip(changes.names, changes.layers, strict=True))
    ]


def _less(rank: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What a straight line on the rank of size leaves of a rank."""
    centred, own = size - size.mean(), rank - rank.mean()
    spread_of = float(centred @ centred)
    left: npt.NDArray[np.float64] = own - centred * (float(centred @ own) / spread_of if spread_of > 0 else 0.0)
    return left


def _names(changes: Changes, stopped: Stopped, reach: LogRange) -> alt.Chart:
    """Names of the layers that have stopped, at the ends of their lines, and of the line they lie below."""
    texts = axis_names(stopped.names)
    ends = []
    for text, values, since in zip(texts, stopped.relative, stopped.stopped_at, strict=True):
        known = values[np.isfinite(values)]
        if since is not None and known.size:
            ends.append((f"{text} since {since:,}", float(known[-1])))
    places = spread([reach.share(value) * HEIGHT for _, value in ends[:NAMED]], LABEL)
    rows = [
        {"text": text, "step": changes.steps[-1], "up": round(place, 1)}
        for (text, _), place in zip(ends[:NAMED], places, strict=True)
    ]
    scale = alt.Scale(domain=[0, HEIGHT], nice=False)
    names = inline(rows).mark_text(align="left", dx=8, baseline="middle", fontSize=11, color=palette.ACCENT)
    chart: alt.Chart = names.encode(
        x=step_axis(changes.steps, changes.unit), y=alt.Y("up:Q", scale=scale, axis=None), text="text:N"
    )
    return chart
