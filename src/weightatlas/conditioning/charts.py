"""The charts of channels: how far layers are from batch norm's (0, 1), and how often channels are positive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.drawing.axes import axis_names, depth_axis, inline, spread

if TYPE_CHECKING:
    from weightatlas.conditioning.survey import Conditioning

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

HEIGHT: Final = 320
NAMED: Final = 3
"""Layers that the plane names: those farthest away."""
LABEL: Final = 14
"""Pixels from one name to the next."""
QUANTILES: Final = (0.0, 0.05, 0.5, 0.95)
"""Of the channels of a layer, from the one that is positive least."""
LEAST: Final = 1e-4
"""Shares of positive values below this are drawn at the foot of a logarithmic axis."""
KINDS: Final = ("batch", "batch-channel", "group", "layer", "instance", "rms")
"""Norms in the order of their colours."""


def plane_chart(survey: Conditioning) -> AnyChart:
    """A dot a layer behind a norm: how far its channels' means are from 0 and their deviations from 1.

    The ring is batch norm by its own statistics. Grey strokes reach as far as chance alone does in nineteen of twenty
    cases.
    """
    rows = plane_rows(survey)
    x = alt.X("mean_distance:Q", title="distance of means from 0", scale=_from_zero(rows, "mean_distance"))
    y = alt.Y("std_distance:Q", title="distance of deviations from 1", scale=_from_zero(rows, "std_distance"))
    known = [row["norm"] for row in rows]
    kinds = [kind for kind in KINDS if kind in known]
    colours = [palette.CATEGORIES[KINDS.index(kind)] for kind in kinds]
    base = inline(rows).encode(x=x, y=y)
    dots = base.mark_point(filled=True, size=52, opacity=0.85).encode(
        color=alt.Color("norm:N", title="norm", scale=alt.Scale(domain=kinds, range=colours)),
        tooltip=[
            "layer:N",
            "norm:N",
            "channels:Q",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("mean_distance", "std_distance")),
        ],
    )
    across = base.mark_rule(color=palette.GREY, strokeWidth=1).encode(x=alt.X("mean_floor:Q"), x2="mean_distance:Q")
    names = (
        inline([row for row in rows if row["named_at"] is not None])
        .mark_text(align="left", dx=8, fontSize=11, color=palette.INK)
        .encode(x=x, y=alt.Y("named_at:Q"), text="label:N")
    )
    ring = inline([{"mean_distance": 0, "std_distance": 0}]).mark_point(size=110, color=palette.ACCENT, filled=False)
    chart: AnyChart = alt.layer(ring.encode(x=x, y=y), across, dots, names.encode(text="label:N")).properties(
        width="container", height=HEIGHT
    )
    return chart


def plane_rows(survey: Conditioning) -> list[dict[str, Any]]:
    """The layers of the plane, those behind a norm whose channels are known."""
    points = [one for one in survey.last.measured if math.isfinite(one.mean_distance)]
    labels = axis_names([one.layer for one in points])
    rows: list[dict[str, Any]] = [
        {
            "layer": one.layer,
            "label": label,
            "norm": one.norm,
            "channels": one.channels,
            "mean_distance": one.mean_distance,
            "std_distance": one.std_distance,
            "mean_floor": _floor(one.mean_distance, one.means.chance_high),
            "named_at": None,
        }
        for one, label in zip(points, labels, strict=True)
    ]
    far = sorted(rows, key=lambda row: math.hypot(row["mean_distance"], row["std_distance"]), reverse=True)[:NAMED]
    reach = _reach(rows, "std_distance")
    for row, place in zip(far, spread([row["std_distance"] for row in far], reach * LABEL / HEIGHT), strict=True):
        row["named_at"] = place
    return rows


def positive_chart(survey: Conditioning) -> AnyChart:
    """How often the channels of every layer are positive: the middle one, the range of nine in ten, the least."""
    rows = positive_rows(survey)
    limits = _limits(survey)
    base = inline(rows).encode(x=depth_axis(len(rows)))
    scale = alt.Scale(type="log", domain=[LEAST, 1], nice=False, clamp=True)
    axis = alt.Axis(values=[LEAST, 1e-3, 1e-2, 1e-1, 0.5, 1], tickCount=6, labelExpr=_percent())
    y = alt.Y("low:Q", title="share of positive values", scale=scale, axis=axis)
    band = base.mark_rule(color=palette.GREY, strokeWidth=_stroke(len(rows))).encode(y=y, y2="high:Q")
    tooltip: list[Any] = ["layer:N", "channels:Q", *(_percentage(name) for name in ("least", "low", "median", "high"))]
    middle = base.mark_point(filled=True, size=44, color=palette.INK).encode(y="median:Q", tooltip=tooltip)
    least = base.mark_point(shape="triangle-down", size=36, filled=True).encode(
        y="least:Q",
        color=alt.condition("datum.dead > 0", alt.value(palette.ACCENT), alt.value(palette.GREY)),
        tooltip=tooltip,
    )
    lines = inline(limits)
    rules = lines.mark_rule(color=palette.ACCENT, strokeDash=[4, 4], strokeWidth=0.8).encode(y="low:Q")
    named = lines.mark_text(align="right", baseline="bottom", dy=-2, fontSize=10.5, color=palette.ACCENT).encode(
        y="low:Q", x=alt.value("width"), text="name:N"
    )
    chart: AnyChart = alt.layer(rules, named, band, least, middle).properties(width="container", height=HEIGHT)
    return chart


def positive_rows(survey: Conditioning) -> list[dict[str, Any]]:
    """Quantiles over the channels of every layer's share of positive values."""
    points = [one for one in survey.last.measured if one.channels]
    rows = []
    for depth, (one, label) in enumerate(zip(points, axis_names([one.layer for one in points]), strict=True), start=1):
        least, low, median, high = np.quantile(one.positive, QUANTILES).tolist()
        rows.append(
            {
                "layer": one.layer,
                "label": label,
                "depth": depth,
                "channels": one.channels,
                "dead": one.dead,
                "least": max(least, LEAST),
                "low": max(low, LEAST),
                "median": max(median, LEAST),
                "high": max(high, LEAST),
            }
        )
    return rows


def _limits(survey: Conditioning) -> list[dict[str, Any]]:
    found = survey.last.channels
    if found is None:
        return []
    return [
        {"low": found.dead_below, "name": "dead below"},
        {"low": found.near_dead_below, "name": "nearly dead below"},
    ]


def _reach(rows: list[dict[str, Any]], field: str) -> float:
    return 1.08 * max([0.1, *(float(row[field]) for row in rows)])


def _from_zero(rows: list[dict[str, Any]], field: str) -> alt.Scale:
    return alt.Scale(domain=[0, _reach(rows, field)], nice=False)


def _floor(value: float, chance: float) -> float:
    """Where the stroke of chance ends: as far left of the dot as chance reaches."""
    return max(0.0, value - chance) if math.isfinite(chance) else value


def _stroke(layers: int) -> float:
    return max(1.5, min(7.0, 260.0 / max(layers, 1)))


def _percent() -> str:
    return f"datum.value <= {LEAST * 1.01} ? 'less' : format(datum.value, datum.value < 0.01 ? '.1%' : '.0%')"


def _percentage(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".2%")
