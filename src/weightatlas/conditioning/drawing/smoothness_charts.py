"""The charts of smoothness: what standardisation takes from each layer's gradient, and walks through the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.conditioning.snapshots import TERMS
from weightatlas.drawing.axes import axis_names, depth_axis, inline
from weightatlas.result import plain

if TYPE_CHECKING:
    from weightatlas.conditioning.charts import AnyChart
    from weightatlas.conditioning.survey import Conditioning
    from weightatlas.conditioning.walks import Walk

HEIGHT: Final = 260
PANEL: Final = 440
COLOURS: Final = (palette.CATEGORIES[1], palette.CATEGORIES[2])
"""Of centring and of scaling."""
DOT: Final = alt.OverlayMarkDef(color=palette.ACCENT, filled=True, size=36)
"""On the lines of what was measured."""


def terms_chart(survey: Conditioning) -> AnyChart:
    """The share of each layer's squared gradient along its two removed directions, beside chance."""
    rows = terms_rows(survey)
    layers = {row["layer"]: row for row in rows}
    base = inline(rows).encode(x=depth_axis(len(layers)))
    bars = base.mark_bar(stroke=None, size=max(2.0, min(16.0, 420.0 / max(len(layers), 1)))).encode(
        y=alt.Y("share:Q", title="share of the squared gradient", axis=alt.Axis(format="%"), stack="zero"),
        color=alt.Color("term:N", title=None, scale=alt.Scale(domain=list(TERMS), range=list(COLOURS))),
        order=alt.Order("place:Q"),
        opacity=alt.condition("datum.standardized", alt.value(1.0), alt.value(0.55)),
        tooltip=["layer:N", "term:N", _share("share"), _share("null"), alt.Tooltip("p_value:Q", format=".3f")],
    )
    chance = (
        inline([{**row, "null": 2 * row["null"]} for row in layers.values()])
        .mark_tick(color=palette.INK, thickness=1.4, size=max(4.0, min(20.0, 520.0 / max(len(layers), 1))))
        .encode(x=depth_axis(len(layers)), y="null:Q")
    )
    chart: AnyChart = alt.layer(bars, chance).properties(width="container", height=HEIGHT)
    return chart


def terms_rows(survey: Conditioning) -> list[dict[str, Any]]:
    """One row for each term of each layer that has them."""
    found = [
        (one, one.terms.layer) for one in survey.last.terms if one.terms is not None and one.terms.layer is not None
    ]
    labels = axis_names([one.layer for one, _ in found])
    return [
        {
            "layer": one.layer,
            "label": label,
            "depth": depth,
            "term": term,
            "place": place,
            "standardized": one.standardized,
            "share": getattr(shares, term),
            "null": shares.null,
            "p_value": plain(getattr(shares, f"{term}_p")),
        }
        for depth, ((one, shares), label) in enumerate(zip(found, labels, strict=True), start=1)
        for place, term in enumerate(TERMS)
    ]


def walks_chart(survey: Conditioning) -> alt.HConcatChart:
    """The loss and its gradient on a walk against the gradient, and on random walks as long."""
    rows = walks_rows(survey)
    panels = [
        _walks(rows, "loss_change", "change of the loss, nats"),
        _walks(rows, "gradient_distance", "change of the gradient"),
    ]
    chart: alt.HConcatChart = alt.hconcat(*panels, spacing=36)
    return chart


def walks_rows(survey: Conditioning) -> list[dict[str, Any]]:
    """One row a step of each walk, from 0 on; None where a figure is not finite."""
    found = survey.last.smoothness
    if found is None or found.descent is None:
        return []
    walks = [("against the gradient", found.descent), *((f"random {n}", one) for n, one in enumerate(found.random, 1))]
    return [row for name, one in walks for row in _steps(name, one, found.weight_norm)]


def _steps(name: str, one: Walk, weight: float) -> list[dict[str, Any]]:
    start = {"walk": name, "random": name.startswith("random"), "length": 0.0}
    rows: list[dict[str, Any]] = [{**start, "loss_change": 0.0, "gradient_distance": 0.0}]
    for length, change, distance in zip(one.lengths, one.loss_change, one.gradient_distance, strict=True):
        reached = float(length) / weight if weight else float(length)
        rows.append({**start, "length": reached, "loss_change": plain(change), "gradient_distance": plain(distance)})
    return rows


def _walks(rows: list[dict[str, Any]], field: str, title: str) -> AnyChart:
    x = alt.X(
        "length:Q",
        title="length of the walk, relative to the weights",
        axis=alt.Axis(format="~%"),
        scale=alt.Scale(nice=False),
    )
    y = alt.Y(f"{field}:Q", title=title)
    random = inline([row for row in rows if row["random"]]).mark_line(color=palette.GREY, opacity=0.45, strokeWidth=1)
    way = inline([row for row in rows if not row["random"]]).mark_line(color=palette.ACCENT, strokeWidth=2.2, point=DOT)
    tooltip = ["walk:N", alt.Tooltip("length:Q", format=".3%"), alt.Tooltip(f"{field}:Q", format=".4g")]
    chart: AnyChart = alt.layer(
        random.encode(x=x, y=y, detail="walk:N", tooltip=tooltip), way.encode(x=x, y=y, tooltip=tooltip)
    ).properties(width=PANEL, height=HEIGHT)
    return chart


def _share(field: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", format=".2%")
