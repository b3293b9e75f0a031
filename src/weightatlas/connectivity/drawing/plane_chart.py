"""The loss on the plane through three networks, with trainings' ways above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.drawing.axes import inline
from weightatlas.result import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.connectivity.landscape import Plane

WIDTH: Final = 620
HIGHEST: Final = 0.9
"""Quantile of the losses above which all are drawn alike: far from the networks a loss is as high as one likes."""
NAMES: Final = ("first", "second", "third")


def plane_chart(drawn: Plane, names: Sequence[str] = NAMES) -> alt.HConcatChart:
    """Squares in one colour from pale (low) to dark (high), the three networks on them, and the ways of trainings.

    A row of one panel, since a page stretches a panel alone, and lengths along both axes are to compare.
    """
    width, height = _step(drawn.xs), _step(drawn.ys)
    cells = [
        {"x": row["x"] - width / 2, "x2": row["x"] + width / 2, "y": row["y"] - height / 2, "y2": row["y"] + height / 2}
        | {"loss": row["loss"]}
        for row in plane_rows(drawn)
        if row["loss"] is not None
    ]
    scale = alt.Scale(nice=False, zero=False)
    x = alt.X("x:Q", title="along the way from the first to the second", scale=scale)
    y = alt.Y("y:Q", title="towards the third", scale=scale)
    colour = alt.Color(
        "loss:Q",
        title="loss, nats",
        scale=alt.Scale(range=list(palette.SEQUENTIAL), domain=_domain(drawn), clamp=True),
        legend=alt.Legend(orient="right", gradientLength=180),
    )
    squares = (
        inline(cells)
        .mark_rect(stroke=None)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=colour, tooltip=[alt.Tooltip("loss:Q", format=".4f")])
    )
    tall = WIDTH * float(np.ptp(drawn.ys) + height) / float(np.ptp(drawn.xs) + width)
    panel = alt.layer(squares, *_ways(drawn), *_networks(drawn, names)).properties(
        width=WIDTH, height=float(np.clip(tall, 120, 2 * WIDTH))
    )
    chart: alt.HConcatChart = alt.hconcat(panel)
    return chart


def plane_rows(drawn: Plane) -> list[dict[str, Any]]:
    """A row a point of the grid."""
    return [
        {"x": float(x), "y": float(y), "loss": plain(drawn.losses[row, column])}
        for row, y in enumerate(drawn.ys)
        for column, x in enumerate(drawn.xs)
    ]


def _domain(drawn: Plane) -> list[float]:
    known = drawn.losses[np.isfinite(drawn.losses)]
    if not known.size:
        return [0.0, 1.0]
    high = max(float(np.quantile(known, HIGHEST)), float(np.nanmax(drawn.point_losses)))
    return [float(known.min()), max(high, float(known.min()) + 1e-9)]


def _ways(drawn: Plane) -> list[alt.Chart]:
    rows = [
        {"run": number, "step": int(step), "x": float(x), "y": float(y), "off": float(off)}
        for number, run in enumerate(drawn.trajectories, start=1)
        for step, (x, y), off in zip(run.steps, run.points, run.off_plane, strict=True)
    ]
    if not rows:
        return []
    tooltip: list[Any] = ["run:N", "step:Q", alt.Tooltip("off:Q", title="off the plane", format=".3g")]
    base = inline(rows).encode(x="x:Q", y="y:Q", detail="run:N", order="step:Q", tooltip=tooltip)
    return [base.mark_line(color=palette.INK, strokeWidth=1.2, point=alt.OverlayMarkDef(size=14, color=palette.INK))]


def _networks(drawn: Plane, names: Sequence[str]) -> list[alt.Chart]:
    rows = [
        {"x": float(x), "y": float(y), "loss": plain(loss), "name": name}
        for (x, y), loss, name in zip(drawn.points, drawn.point_losses, names, strict=True)
    ]
    base = inline(rows).encode(x="x:Q", y="y:Q")
    dots = base.mark_point(filled=True, size=70, color=palette.INK, stroke=palette.PAPER, strokeWidth=1.5, opacity=1)
    style: dict[str, Any] = {"align": "center", "dy": -13, "fontSize": 11.5}
    named = base.encode(text="name:N")
    return [
        dots.encode(tooltip=["name:N", alt.Tooltip("loss:Q", format=".4f")]),
        named.mark_text(**style, color=palette.PAPER, stroke=palette.PAPER, strokeWidth=3.5),
        named.mark_text(**style, color=palette.INK),
    ]


def _step(values: np.ndarray) -> float:
    return float(values[1] - values[0]) if len(values) > 1 else 1.0
