"""The charts of channels: how far layers are from batch norm's (0, 1), and how often channels are positive."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.drawing.axes import axis_names, depth_axis, inline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.conditioning.survey import Conditioning

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

HEIGHT: Final = 320
NAMED: Final = 3
"""Layers that the plane names: those farthest away, each away from the others."""
APART: Final = (0.25, 0.06)
"""Shares of the plane's width and height within which there is room for one name."""
TURN: Final = 0.6
"""Share of the width from which a name ends at its dot, and does not begin there."""
NAME_AT: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({"left": (8, 0), "right": (5, -11)})
"""Pixels from a dot to its name, by the side at which the name begins: beside it, or above the stroke left of it."""
HALO: Final = 3.5
"""Pixels of paper around letters that lie over marks."""
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
    y = alt.Y(
        "std_distance:Q",
        title="distance of deviations from 1",
        scale=_from_zero(rows, "std_distance"),
        axis=alt.Axis(labelPadding=9),
    )
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
    names = [
        text
        for side, (dx, dy) in NAME_AT.items()
        for text in _texts(
            inline([row for row in rows if row["named"] == side]).encode(x=x, y=y, text="label:N"),
            {"align": side, "dx": dx, "dy": dy, "fontSize": 11, "color": palette.INK},
        )
    ]
    ring = inline([{"mean_distance": 0, "std_distance": 0}]).mark_point(size=110, color=palette.ACCENT, filled=False)
    chart: AnyChart = alt.layer(ring.encode(x=x, y=y), across, dots, *names).properties(
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
            "named": None,
        }
        for one, label in zip(points, labels, strict=True)
    ]
    _name_farthest(rows)
    return rows


def _name_farthest(rows: list[dict[str, Any]]) -> None:
    """Say at which side of their dots the layers are named that are farthest on the plane and have room."""
    width, height = _reach(rows, "mean_distance"), _reach(rows, "std_distance")
    placed = [(row["mean_distance"] / width, row["std_distance"] / height, row) for row in rows]
    taken: list[tuple[float, float]] = []
    for across, up, row in sorted(placed, key=lambda one: math.hypot(one[0], one[1]), reverse=True):
        if len(taken) < NAMED and all(abs(across - x) > APART[0] or abs(up - y) > APART[1] for x, y in taken):
            row["named"] = "right" if across > TURN else "left"
            taken.append((across, up))


def positive_chart(survey: Conditioning) -> AnyChart:
    """How often the channels of every layer are positive: the middle one, the range of nine in ten, the least."""
    rows = positive_rows(survey)
    limits = _limits(survey)
    base = inline(rows).encode(x=depth_axis(len(rows)))
    scale = alt.Scale(type="log", domain=[LEAST, 1], nice=False, clamp=True)
    axis = alt.Axis(values=[LEAST, 1e-3, 1e-2, 1e-1, 0.5, 1], tickCount=6, labelExpr=_percent())
    y = alt.Y("low:Q", title="share of positive values", scale=scale, axis=axis)
    band = base.mark_rule(color=palette.GREY, strokeWidth=_stroke(len(rows))).encode(y=y, y2="high:Q")
    figures = ("least", "low", "median", "high", "median_gaussian")
    tooltip: list[Any] = ["layer:N", "channels:Q", *(_percentage(name) for name in figures)]
    middle = base.mark_point(filled=True, size=44, color=palette.INK).encode(y="median:Q", tooltip=tooltip)
    least = base.mark_point(shape="triangle-down", size=36, filled=True).encode(
        y="least:Q",
        color=alt.condition("datum.dead > 0", alt.value(palette.ACCENT), alt.value(palette.GREY)),
        tooltip=tooltip,
    )
    lines = inline(limits)
    rules = lines.mark_rule(color=palette.ACCENT, strokeDash=[4, 4], strokeWidth=0.8).encode(y="low:Q")
    named = _texts(
        lines.encode(y="low:Q", x=alt.value("width"), text="name:N"),
        {"align": "right", "baseline": "bottom", "dy": -2, "fontSize": 10.5, "color": palette.ACCENT},
    )
    chart: AnyChart = alt.layer(rules, band, least, middle, *named).properties(width="container", height=HEIGHT)
    return chart


def positive_rows(survey: Conditioning) -> list[dict[str, Any]]:
    """Quantiles over the channels of every layer's share of positive values; the middle one if all were Gaussian."""
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
                "median_gaussian": float(np.median(one.gaussian_positive)),
            }
        )
    return rows


def _texts(base: alt.Chart, mark: dict[str, Any]) -> tuple[alt.Chart, alt.Chart]:
    """Letters that can be read over marks: first a rim of paper, then the letters."""
    rim = {**mark, "color": palette.PAPER, "stroke": palette.PAPER, "strokeWidth": HALO}
    return base.mark_text(**rim), base.mark_text(**mark)


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
