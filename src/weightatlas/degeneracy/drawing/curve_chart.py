"""What more examples show of a network: the rank of the stacked Jacobian and the directions still free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.drawing.axes import inline

if TYPE_CHECKING:
    from weightatlas.degeneracy.survey import Degeneracy

AnyChart = alt.LayerChart | alt.FacetChart

HEIGHT: Final = 280
LINES: Final = {"rank": "rank of the Jacobian", "limit": "examples × outputs: its limit", "nullity": "free directions"}


def curve_chart(survey: Degeneracy) -> AnyChart:
    """Over the number of examples: the rank, the most that it can be, and the number of weights that remain."""
    rows = curve_points(survey)
    parameters = 0 if survey.counts is None else survey.counts.parameters
    colours = (palette.ACCENT, palette.GREY, palette.CATEGORIES[1])
    base = inline(rows).encode(
        x=alt.X("examples:Q", title="examples", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="~s")),
        y=alt.Y("value:Q", title="directions", scale=alt.Scale(domainMin=0), axis=alt.Axis(format="~s")),
        color=alt.Color(
            "what:N",
            title=None,
            scale=alt.Scale(domain=list(LINES.values()), range=list(colours)),
            legend=alt.Legend(orient="top", symbolType="stroke", labelLimit=260),
        ),
        tooltip=["what:N", alt.Tooltip("examples:Q", format=","), alt.Tooltip("value:Q", format=",")],
    )
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=24, filled=True))
    all_ = inline([{"value": parameters}]).mark_rule(color=palette.INK, strokeDash=[2, 3]).encode(y="value:Q")
    label = (
        inline([{"value": parameters, "text": f"{parameters:,} weights"}])
        .mark_text(align="right", dy=12, dx=-2, fontSize=11, color=palette.INK)
        .encode(y="value:Q", x=alt.value("width"), text="text:N")
    )
    chart: AnyChart = alt.layer(all_, label, lines).properties(width="container", height=HEIGHT)
    return chart


def curve_points(survey: Degeneracy) -> list[dict[str, Any]]:
    """A row a number of examples and line; the limit ends where it passes the number of weights."""
    parameters = 0 if survey.counts is None else survey.counts.parameters
    return [
        {"examples": row["examples"], "what": words, "value": row[key]}
        for row in survey.rows("curve")
        for key, words in LINES.items()
        if row["skipped"] is None and row[key] is not None and not (key == "limit" and row[key] > 1.5 * parameters)
    ]
