"""Layers one by one: their barriers beside chance, from either end on, and beside what derivatives predict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import altair as alt
from scipy.stats import rankdata

from weightatlas import palette
from weightatlas.drawing.axes import axis_names, depth_axis, inline
from weightatlas.result import plain

if TYPE_CHECKING:
    from weightatlas.connectivity.pair import Pair

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

HEIGHT: Final = 260
SQUARE: Final = 400
NAMED: Final = 5
"""Layers that the plane of ranks names: those whose barriers are highest."""
WAYS: Final = {"from_input": "all layers up to this one", "from_output": "all layers from this one on"}


def layers_chart(pair: Pair) -> AnyChart:
    """A bar a layer: the barrier where it alone is taken from the other network; a tick for random directions."""
    rows = layer_bars(pair)
    x = depth_axis(len(rows))
    wide = max(2.0, min(16.0, 420.0 / max(len(rows), 1)))
    base = inline(rows).encode(x=x)
    tooltip = [
        "layer:N",
        *(_nats(name) for name in ("barrier", "low", "high", "random", "predicted")),
        _nats("q_value"),
    ]
    bars = base.mark_bar(size=wide, stroke=None).encode(
        y=alt.Y("barrier:Q", title="barrier of one layer, nats", stack=None),
        color=alt.condition("datum.beyond", alt.value(palette.ACCENT), alt.value(palette.GREY)),
        opacity=alt.condition("datum.beyond", alt.value(0.9), alt.value(0.45)),
        tooltip=tooltip,
    )
    whiskers = base.mark_rule(color=palette.INK, strokeWidth=1).encode(y="low:Q", y2="high:Q")
    chance = base.mark_tick(color=palette.INK, thickness=1.4, size=wide + 5).encode(y="random:Q")
    chart: AnyChart = alt.layer(bars, whiskers, chance).properties(width="container", height=HEIGHT)
    return chart


def layer_bars(pair: Pair) -> list[dict[str, Any]]:
    """A row a layer, in the network's order."""
    labels = axis_names([one.layer for one in pair.layers])
    return [
        {
            "layer": one.layer,
            "label": label,
            "depth": depth,
            "barrier": plain(one.barrier),
            "low": plain(one.low),
            "high": plain(one.high),
            "random": plain(one.random.mean()) if one.random.size else None,
            "predicted": plain(pair.predicted.get(one.layer)),
            "q_value": plain(q_value),
            "beyond": bool(one.low > 0),
        }
        for depth, (one, label, q_value) in enumerate(zip(pair.layers, labels, pair.layer_q_values, strict=True), 1)
    ]


def cumulative_chart(pair: Pair) -> AnyChart:
    """Two lines: the barrier with all layers up to one taken from the other network, and with all from it on."""
    rows = cumulative_rows(pair)
    colours = alt.Scale(domain=list(WAYS.values()), range=[palette.CATEGORIES[1], palette.CATEGORIES[2]])
    base = inline(rows).encode(
        x=depth_axis(len(pair.layers)),
        y=alt.Y("barrier:Q", title="barrier, nats"),
        color=alt.Color("way:N", title=None, scale=colours),
        tooltip=["layer:N", "way:N", _nats("barrier")],
    )
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22, filled=True))
    chart: AnyChart = alt.layer(lines).properties(width="container", height=HEIGHT)
    return chart


def cumulative_rows(pair: Pair) -> list[dict[str, Any]]:
    """Two rows a layer."""
    labels = axis_names([one.layer for one in pair.layers])
    return [
        {"layer": one.layer, "label": label, "depth": depth, "way": name, "barrier": plain(getattr(one, way))}
        for depth, (one, label) in enumerate(zip(pair.layers, labels, strict=True), 1)
        for way, name in WAYS.items()
        if math.isfinite(getattr(one, way))
    ]


def ranks_chart(pair: Pair) -> alt.HConcatChart:
    """A dot a layer: the rank of its predicted barrier and of the measured one; a square, in a row of its own."""
    rows = rank_rows(pair)
    most = len(rows) + 0.5
    scale = alt.Scale(domain=[0.5, most], nice=False)
    axis = alt.Axis(tickMinStep=1, format="d")
    base = inline(rows).encode(
        x=alt.X("predicted_rank:Q", title="rank of the predicted rise", scale=scale, axis=axis),
        y=alt.Y("measured_rank:Q", title="rank of the measured rise half-way", scale=scale, axis=axis),
    )
    same = [{"predicted_rank": end, "measured_rank": end} for end in (0.5, most)]
    diagonal = (
        inline(same).mark_line(color=palette.RULE, strokeWidth=1).encode(x="predicted_rank:Q", y="measured_rank:Q")
    )
    dots = base.mark_point(filled=True, size=52, color=palette.ACCENT, opacity=0.85).encode(
        tooltip=["layer:N", _nats("midpoint"), _nats("predicted")]
    )
    named = inline([row for row in rows if row["named"]]).encode(
        x="predicted_rank:Q", y="measured_rank:Q", text="layer:N"
    )
    style: dict[str, Any] = {"align": "left", "dx": 7, "fontSize": 11}
    rim = named.mark_text(**style, color=palette.PAPER, stroke=palette.PAPER, strokeWidth=3.5)
    names = named.mark_text(**style, color=palette.INK)
    panel = alt.layer(diagonal, dots, rim, names).properties(width=SQUARE, height=SQUARE)
    chart: alt.HConcatChart = alt.hconcat(panel)
    return chart


def rank_rows(pair: Pair) -> list[dict[str, Any]]:
    """A row a layer whose barrier was predicted; rank 1 is the lowest."""
    known = [one for one in pair.layers if one.layer in pair.predicted]
    if not known:
        return []
    measured = rankdata([one.midpoint for one in known])
    predicted = rankdata([pair.predicted[one.layer] for one in known])
    return [
        {
            "layer": one.layer,
            "midpoint": plain(one.midpoint),
            "predicted": plain(pair.predicted[one.layer]),
            "measured_rank": float(ours),
            "predicted_rank": float(theirs),
            "named": bool(ours > len(known) - NAMED),
        }
        for one, ours, theirs in zip(known, measured, predicted, strict=True)
    ]


def _nats(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".4g")
