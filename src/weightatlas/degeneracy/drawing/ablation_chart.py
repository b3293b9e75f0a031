"""How accurate a network stays as edges between two points are left out, beside principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.drawing.axes import inline, round_ticks, ticks_axis
from weightatlas.result import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.degeneracy.ablation import EdgeAblation
    from weightatlas.degeneracy.structure import Structure

AnyChart = alt.LayerChart | alt.FacetChart

PANEL: Final = (300, 200)
ACROSS: Final = 3
BASES: Final = {"interaction basis": palette.ACCENT, "principal components": palette.GREY}


def ablation_chart(found: Structure) -> alt.VConcatChart:
    """A panel a pair of points: accuracy over the edges that are kept; a dot where few enough are left."""
    rows = ablation_points(found)
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    panels = [_panel([row for row in rows if row["pair"] == pair], pair) for pair in pairs]
    lines = [alt.hconcat(*panels[start : start + ACROSS], spacing=28) for start in range(0, len(panels), ACROSS)]
    chart: alt.VConcatChart = alt.vconcat(*lines, spacing=20)
    return chart


def ablation_points(found: Structure) -> list[dict[str, Any]]:
    """A row a number of edges that was tried."""
    return [*_points(found.edges, "interaction basis"), *_points(found.baseline_edges, "principal components")]


def _points(ablations: Sequence[EdgeAblation], basis: str) -> list[dict[str, Any]]:
    return [
        {
            "pair": f"{one.source} to {one.target}",
            "basis": basis,
            "edges": int(edges),
            "value": plain(float(value)),
            "needed": int(edges) == one.needed,
        }
        for one in ablations
        for edges, value in np.asarray(one.curve).tolist()
    ]


def _panel(rows: list[dict[str, Any]], title: str) -> AnyChart:
    width, height = PANEL
    base = inline(rows).encode(
        x=_edges(max((row["edges"] for row in rows), default=1)),
        y=alt.Y("value:Q", title="accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format=".0%")),
        color=alt.Color(
            "basis:N",
            title=None,
            scale=alt.Scale(domain=list(BASES), range=list(BASES.values())),
            legend=alt.Legend(orient="top", symbolType="stroke", offset=14),
        ),
        tooltip=["basis:N", alt.Tooltip("edges:Q", format=","), alt.Tooltip("value:Q", format=".2%")],
    )
    lines = base.mark_line(strokeWidth=1.8)
    dots = base.transform_filter("datum.needed").mark_point(filled=True, size=60, opacity=1)
    chart: AnyChart = alt.layer(lines, dots).properties(
        width=width, height=height, title=alt.TitleParams(title, limit=width)
    )
    return chart


def _edges(most: int) -> alt.X:
    """From 0 to the most edges, by the logarithm of one more: without any edge the constants alone are left."""
    ticks = [0, *round_ticks(1, max(most, 1), most=5)]
    return alt.X(
        "edges:Q",
        title="edges kept",
        scale=alt.Scale(type="symlog", domain=[0, max(most, 1)], nice=False),
        axis=ticks_axis(ticks, labelExpr="format(datum.value, '~s')", labelOverlap="greedy"),
    )
