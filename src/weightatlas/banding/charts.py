"""The charts of a banding survey, without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from weightatlas import palette
from weightatlas.drawing.axes import depth_axis, inline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.banding.survey import BandingSurvey

NULL_WIDTH = 3.2905
"""Half-width of the grey bar in standard deviations: 99.9 % of sign flips fall inside, as q < .001 asks."""

_DIRECTION = alt.Scale(
    domain=["horizontal", "vertical", "none"], range=[palette.HORIZONTAL, palette.VERTICAL, palette.GREY]
)


def depth_chart(survey: BandingSurvey) -> alt.LayerChart:
    """B of every scored layer by depth: raw as dots, slides as rings, the null as grey bars."""
    rows = [
        {
            "depth": depth,
            "layer": banding.layer,
            "score": banding.score.score,
            "slides": banding.slide_score if banding.slide_scores is not None else None,
            "low": -NULL_WIDTH * banding.score.null_std,
            "high": NULL_WIDTH * banding.score.null_std,
            "direction": banding.direction,
        }
        for depth, banding in enumerate(survey.scored, start=1)
        if banding.score is not None
    ]
    base = inline(rows).encode(x=depth_axis(len(rows), field="layer"))
    scale = alt.Scale(domain=[-1, 1], nice=False)
    null = base.mark_bar(color=palette.NULL, size=_bar_size(len(rows))).encode(
        y=alt.Y("low:Q", title="B", scale=scale), y2="high:Q"
    )
    colour = alt.Color("direction:N", title="bands", scale=_DIRECTION)
    tooltip = _tooltip("layer", "direction", score="B", slides="B of slides")
    raw = base.mark_point(filled=True, size=45, opacity=1).encode(y="score:Q", color=colour, tooltip=tooltip)
    slides = base.mark_point(filled=False, size=45, strokeWidth=1.2).encode(y="slides:Q", color=colour, tooltip=tooltip)
    zero = inline([{"zero": 0}]).mark_rule(color=palette.GREY, strokeWidth=0.6).encode(y="zero:Q")
    layered: alt.LayerChart = (null + zero + slides + raw).properties(width="container", height=260)
    return layered


def symmetry_chart(survey: BandingSurvey) -> alt.FacetChart:
    """Imbalance under each symmetry by depth, one panel a symmetry."""
    rows = [
        {
            "depth": depth,
            "layer": banding.layer,
            "symmetry": test.symmetry,
            "score": test.score,
            "low": -NULL_WIDTH * test.null_std,
            "high": NULL_WIDTH * test.null_std,
            "broken": bool(q_value < 0.001 and abs(test.score) >= 0.06),
        }
        for depth, banding in enumerate(survey.scored, start=1)
        for test, q_value in zip(banding.symmetries, banding.symmetry_q_values, strict=True)
    ]
    base = alt.Chart().encode(x=depth_axis(len(survey.scored), names=False, field="layer"))
    null = base.mark_bar(color=palette.NULL, size=max(2, _bar_size(3 * len(survey.scored)))).encode(
        y=alt.Y("low:Q", title="imbalance"), y2="high:Q"
    )
    broken = alt.Color(
        "broken:N", title="broken", scale=alt.Scale(domain=[True, False], range=[palette.ACCENT, palette.GREY])
    )
    dots = base.mark_point(filled=True, size=28, opacity=1).encode(
        y="score:Q", color=broken, tooltip=_tooltip("layer", "symmetry", score="imbalance")
    )
    layered = alt.layer(null, dots).properties(width=260, height=150, data=inline(rows).data)
    faceted: alt.FacetChart = layered.facet(
        column=alt.Column("symmetry:N", title=None, sort=["vertical flip", "horizontal flip", "quarter turn"])
    )
    return faceted


def types_chart(rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Each layer's share of each type as one stacked bar, coloured by the type's own b."""
    values = [dict(row) | {"order": order} for order, row in enumerate(rows)]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    chart: alt.Chart = (
        inline(values)
        .mark_bar(stroke=palette.RULE, strokeWidth=0.5)
        .encode(
            y=alt.Y("layer:N", title=None, sort=layers, axis=alt.Axis(labelLimit=220)),
            x=alt.X("share:Q", title="share of units", stack="normalize", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color(
                "type_score:Q",
                title="b of the type",
                scale=alt.Scale(domain=[-1, 0, 1], range=list(palette.DIVERGING), interpolate="rgb"),
            ),
            order=alt.Order("type_score:Q", sort="descending"),
            tooltip=_tooltip("layer", "type", type_score="b of the type", share="share"),
        )
        .properties(width="container", height=16 * len(layers))
    )
    return chart


def profile_chart(rows: Sequence[Mapping[str, Any]]) -> alt.FacetChart:
    """Share of the squared weights at each row and column of the map that a fully connected layer reads."""
    base = alt.Chart().encode(x=alt.X("position:O", title="from the top, from the left", axis=alt.Axis(labelAngle=0)))
    shares = base.mark_bar(color=palette.ACCENT).encode(
        y=alt.Y("share:Q", title="share of squared weights", axis=alt.Axis(format="%")),
        tooltip=_tooltip("layer", "axis", "position", share="share"),
    )
    uniform = base.mark_tick(color=palette.INK, thickness=1.2).encode(y="uniform:Q")
    layered = alt.layer(shares, uniform).properties(width=260, height=140, data=inline(rows).data)
    faceted: alt.FacetChart = layered.facet(
        row=alt.Row("layer:N", title=None), column=alt.Column("axis:N", title=None, sort=["y", "x"])
    ).resolve_scale(x="independent")
    return faceted


def _bar_size(layers: int) -> float:
    return max(2.0, min(14.0, 420.0 / max(layers, 1)))


def _tooltip(*names: str, **figures: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N") for name in names] + [
        alt.Tooltip(f"{name}:Q", title=title, format="+.3f") for name, title in figures.items()
    ]
