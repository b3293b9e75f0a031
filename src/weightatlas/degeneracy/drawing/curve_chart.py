"""What more examples show of a network: the rank of the stacked Jacobian and the directions still free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.drawing.axes import THOUSANDS, inline, ticks_axis

if TYPE_CHECKING:
    from weightatlas.degeneracy.survey import Degeneracy

AnyChart = alt.LayerChart | alt.FacetChart

HEIGHT: Final = 280
HEADROOM: Final = 1.1
"""Of the axis above the number of weights, where it is named."""
NARROW: Final = 500
"""Width of a page on which the names of three lines have no room side by side."""
ABOVE: Final = 22
"""From the legend down to the axis, so that it does not meet the axis's title."""
EARLY: Final = 0.3
"""Share of the axis up to which its name would meet a limit that grows past the number of weights so soon."""
LINES: Final = {"rank": "rank of the Jacobian", "limit": "examples × outputs: its limit", "nullity": "free directions"}


def curve_chart(survey: Degeneracy) -> AnyChart:
    """Over the number of examples: the rank, the most that it can be, and the number of weights that remain."""
    rows = curve_points(survey)
    parameters = 0 if survey.counts is None else survey.counts.parameters
    examples = sorted({row["examples"] for row in rows})
    colours = (palette.ACCENT, palette.GREY, palette.CATEGORIES[1])
    top = max(parameters, 1) * HEADROOM
    x = alt.X(
        "examples:Q",
        title="examples",
        scale=alt.Scale(type="log", domain=_reach(examples), nice=False),
        axis=ticks_axis(examples, format=_form(max(examples, default=1)), labelOverlap="greedy"),
    )
    y = alt.Y(
        "value:Q",
        title="directions",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(
            format=_form(parameters), labelExpr="datum.value === 0 ? '0' : datum.label", tickCount=6, tickMinStep=1
        ),
    )
    base = inline(rows).encode(
        x=x,
        y=y,
        color=alt.Color(
            "what:N",
            title=None,
            scale=alt.Scale(domain=list(LINES.values()), range=list(colours)),
            legend=alt.Legend(
                orient="top",
                symbolType="stroke",
                labelLimit=260,
                columns=alt.ExprRef(f"width < {NARROW} ? 2 : 3"),
                offset=ABOVE,
            ),
        ),
        tooltip=["what:N", alt.Tooltip("examples:Q", format=","), alt.Tooltip("value:Q", format=",")],
    )
    dash = alt.condition(f"datum.what == '{LINES['limit']}'", alt.value([3, 3]), alt.value([1, 0]))
    lines = base.mark_line(strokeWidth=2, clip=True).encode(strokeDash=dash)
    dots = base.transform_filter(f"datum.value <= {top}").mark_point(filled=True, size=24, opacity=1)
    all_ = inline([{"value": parameters}]).mark_rule(color=palette.INK, strokeDash=[2, 3]).encode(y="value:Q")
    label = inline([{"value": parameters, "text": f"{parameters:,} weights"}])
    left = not _early(rows, parameters)
    text = label.mark_text(
        align="left" if left else "right", baseline="bottom", dy=-3, fontSize=11, color=palette.INK
    ).encode(y="value:Q", x=alt.value(0 if left else "width"), text="text:N")
    chart: AnyChart = alt.layer(all_, text, lines, dots).properties(width="container", height=HEIGHT)
    return chart


def curve_points(survey: Degeneracy) -> list[dict[str, Any]]:
    """A row a number of examples and line; the limit ends with its first point above the number of weights."""
    parameters = 0 if survey.counts is None else survey.counts.parameters
    rows: list[dict[str, Any]] = []
    above = False
    for row in survey.rows("curve"):
        if row["skipped"] is not None:
            continue
        rows += [
            {"examples": row["examples"], "what": words, "value": row[key]}
            for key, words in LINES.items()
            if not (key == "limit" and above)
        ]
        above = above or row["limit"] > parameters
    return rows


def _reach(examples: list[int]) -> list[float]:
    """The axis of examples; around a single number, as a logarithm needs two."""
    first, last = (examples[0], examples[-1]) if examples else (1, 1)
    return [first, last] if first < last else [first / 2, 2 * last]


def _form(most: int) -> str:
    return "~s" if most >= THOUSANDS else ",d"


def _early(rows: list[dict[str, Any]], parameters: int) -> bool:
    """Whether the limit passes the number of weights where that is named at the left."""
    limit = [row for row in rows if row["what"] == LINES["limit"]]
    low, high = _reach(sorted({row["examples"] for row in rows}))
    if not limit or limit[-1]["value"] <= parameters:
        return False
    crossing: float = limit[0]["examples"] * parameters / limit[0]["value"]
    return crossing <= float(low * (high / low) ** EARLY)
