"""Free directions of a network, by what frees them, and of every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.degeneracy.tables import UNEXPLAINED
from weightatlas.drawing.axes import axis_names, depth_axis, inline

if TYPE_CHECKING:
    from weightatlas.degeneracy.survey import Degeneracy

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

ROW: Final = 24
HEIGHT: Final = 240
WORDS: Final = {
    "activations": "dependent activations",
    "gradients": "dependent gradients",
    "synchronised": "synchronised ReLUs",
    "rescalings": "of these, rescalings of one unit",
    "conditional": "activations where a unit is live",
    "heads": "bases inside attention heads",
    "linear": "bases between linear layers",
    "norms": "scales and shifts of norms",
    "union": "all of these together",
    "exact": "all that are free",
    UNEXPLAINED: "free, and not explained",
}
"""Sources as the charts call them, in the order of their bars."""

TOTALS: Final = ("union", "exact", UNEXPLAINED)
KINDS: Final = ("activations", "gradients", "synchronised", "conditional", "heads", "linear", "norms")
"""Sources that the chart of layers marks; kinds overlap, so they are dots and no stack."""


def counts_chart(survey: Degeneracy) -> AnyChart:
    """A bar a source, of the whole network; the kinds overlap, `all of these together` is the rank of their union."""
    rows = whole_rows(survey)
    base = inline(rows).encode(
        y=alt.Y("words:N", sort=[row["words"] for row in rows], title=None, axis=alt.Axis(labelLimit=260, ticks=False)),
        x=alt.X("directions:Q", title="directions of the weights that change no output", axis=alt.Axis(tickCount=6)),
    )
    tooltip = ["words:N", alt.Tooltip("directions:Q", format=","), alt.Tooltip("share:Q", format=".2%")]
    bars = base.mark_bar(stroke=None, height={"band": 0.68}).encode(
        color=alt.condition("datum.total", alt.value(palette.ACCENT), alt.value(palette.GREY)), tooltip=tooltip
    )
    labels = base.mark_text(align="left", dx=5, color=palette.INK, fontSize=11).encode(
        text=alt.Text("directions:Q", format=",")
    )
    layers: list[alt.Chart] = [bars, labels]
    estimates = [row for row in rows if row["low"] is not None]
    if estimates:
        layers.append(
            inline(estimates)
            .mark_rule(color=palette.INK, strokeWidth=1.2)
            .encode(y=alt.Y("words:N", sort=[row["words"] for row in rows]), x="low:Q", x2="high:Q")
        )
    chart: AnyChart = alt.layer(*layers).properties(width="container", height=ROW * max(len(rows), 2))
    return chart


def whole_rows(survey: Degeneracy) -> list[dict[str, Any]]:
    """A row a source that was counted in the whole network."""
    found = {row["source"]: row for row in survey.rows("counts") if row["layer"] is None}
    return [
        {
            "words": words,
            "source": source,
            "total": source in TOTALS,
            **{key: found[source][key] for key in ("directions", "share", "low", "high")},
        }
        for source, words in WORDS.items()
        if source in found and found[source]["directions"] is not None
    ]


def layers_chart(survey: Degeneracy) -> AnyChart:
    """A bar a layer: the share of its directions that is free; a dot a kind, a tick for all there is."""
    rows = share_rows(survey)
    layers = len({row["layer"] for row in rows})
    x = depth_axis(layers)
    wide = max(2.0, min(18.0, 420.0 / max(layers, 1)))
    y = alt.Y("share:Q", title="free directions, of the layer's weights", axis=alt.Axis(format="%"))
    tooltip: list[Any] = [
        "layer:N",
        "words:N",
        alt.Tooltip("directions:Q", format=","),
        alt.Tooltip("share:Q", format=".2%"),
    ]
    kinds = [kind for kind in KINDS if any(row["source"] == kind for row in rows)]
    scale = alt.Scale(
        domain=[WORDS[kind] for kind in kinds], range=[palette.CATEGORIES[1 + KINDS.index(kind)] for kind in kinds]
    )
    legend = alt.Legend(orient="top", labelLimit=260)
    # One table for all marks: with one each, Vega does not keep the order of the layers.
    base = inline(rows).encode(x=x, y=y, tooltip=tooltip)
    bars = base.transform_filter("datum.source == 'union'").mark_bar(size=wide, stroke=None, color=palette.RULE)
    ticks = base.transform_filter("datum.source == 'exact'").mark_tick(color=palette.INK, thickness=1.6, size=wide + 6)
    dots = (
        base.transform_filter(alt.FieldOneOfPredicate(field="source", oneOf=kinds))
        .mark_point(filled=True, size=36, opacity=0.9)
        .encode(color=alt.Color("words:N", title=None, scale=scale, legend=legend))
    )
    chart: AnyChart = alt.layer(bars, dots, ticks).properties(width="container", height=HEIGHT)
    return chart


def share_rows(survey: Degeneracy) -> list[dict[str, Any]]:
    """A row a layer and source, in the network's order."""
    rows = [row for row in survey.rows("counts") if row["layer"] is not None and row["skipped"] is None]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    labels = dict(zip(layers, axis_names(layers), strict=True))
    depths = {layer: depth for depth, layer in enumerate(layers, start=1)}
    return [
        {
            "layer": row["layer"],
            "label": labels[row["layer"]],
            "depth": depths[row["layer"]],
            "source": row["source"],
            "words": WORDS[row["source"]],
            "directions": row["directions"],
            "share": row["share"],
        }
        for row in rows
        if row["directions"] is not None and row["share"] is not None
    ]
