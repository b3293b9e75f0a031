"""How much of a network may change places, and why the rest may not."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.anatomy.symmetries.layout import factors_of, moved_share
from weightatlas.drawing.axes import inline

if TYPE_CHECKING:
    from weightatlas.anatomy.symmetry import Symmetries
    from weightatlas.connectivity.survey import Connection

HEIGHT: Final = 34
MOVES: Final = "may change places"
MOST: Final = 6
"""Reasons that have a bar of their own."""
REST: Final = "other reasons"


def coverage_chart(found: Connection) -> alt.Chart:
    """One bar of all weights and buffers, in parts: what may change places, and what stays, by reason."""
    rows = coverage_rows(found.symmetries) if found.symmetries is not None else []
    parts = [row["part"] for row in rows]
    greys = [palette.GREY, *palette.CATEGORIES[1:]]
    colours = [palette.ACCENT if part == MOVES else greys[place % len(greys)] for place, part in enumerate(parts)]
    chart: alt.Chart = (
        inline(rows)
        .mark_bar(stroke=palette.PAPER)
        .encode(
            x=alt.X("share:Q", title="share of all weights", stack="zero", axis=alt.Axis(format="%")),
            color=alt.Color(
                "part:N",
                title=None,
                scale=alt.Scale(domain=parts, range=colours),
                legend=alt.Legend(orient="bottom", columns=1, labelLimit=600),
            ),
            order=alt.Order("place:Q"),
            tooltip=["part:N", alt.Tooltip("share:Q", format=".2%"), alt.Tooltip("weights:Q", format=",.0f")],
        )
        .properties(width="container", height=HEIGHT)
    )
    return chart


def coverage_rows(found: Symmetries) -> list[dict[str, Any]]:
    """A row a part: the weights of a tensor that no axis moves are shared evenly over its axes' reasons."""
    parts: dict[str, float] = defaultdict(float)
    for axes in found.layouts.values():
        weights = float(np.prod([axis.size for axis in axes]))
        staying = weights * float(np.prod([1 - moved_share(axis) for axis in axes]))
        parts[MOVES] += weights - staying
        reasons = [factor.reason for axis in axes for factor in factors_of(axis) if factor.reason is not None]
        for reason in reasons if staying else ():
            parts[reason] += staying / len(reasons)
    whole = sum(parts.values()) or 1.0
    ranked = sorted(((part, count) for part, count in parts.items() if part != MOVES), key=lambda one: -one[1])
    rest = sum(count for _, count in ranked[MOST:])
    kept = [(MOVES, parts[MOVES]), *ranked[:MOST], *([(REST, rest)] if rest else [])]
    return [
        {"part": part, "share": count / whole, "weights": count, "place": place}
        for place, (part, count) in enumerate(kept)
    ]
