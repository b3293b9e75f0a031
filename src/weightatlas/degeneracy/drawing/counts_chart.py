"""Free directions of a network, by what frees them, and of every layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.degeneracy.tables import UNEXPLAINED
from weightatlas.drawing.axes import NAMES_UP_TO, axis_names, depth_axis, inline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.degeneracy.survey import Degeneracy

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

ROW: Final = 24
LONG: Final = 0.6
"""Share of the longest bar from which on a bar bears its figure inside: at its end there may be no room."""
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

LETTER: Final = 6.5
"""Room of a letter on the axis of layers, in pixels; names have two more between them."""
SLANTED: Final = -40
ROOM: Final = 16
"""Of a slanted name along the axis; where there is less only every second is shown, or every third and so on."""
NARROW: Final = 600
"""Width of a page on which four names of kinds have no room side by side."""
ABOVE: Final = 22
"""From the legend down to the axis, so that it does not meet the axis's title."""
LONGEST: Final = 195
"""Room for a name of as many letters as an axis shows."""

TOTALS: Final = ("union", "exact", UNEXPLAINED)
KINDS: Final = ("activations", "gradients", "synchronised", "conditional", "heads", "linear", "norms")
"""Sources that the chart of layers marks; kinds overlap, so they are dots and no stack."""
ALONE: Final = ("activations", "gradients", "conditional")
"""Those that move one layer: their union is the bar."""


def counts_chart(survey: Degeneracy) -> AnyChart:
    """A bar a source, of the whole network; the kinds overlap, `all of these together` is the rank of their union."""
    rows = whole_rows(survey)
    top = max((row["directions"] for row in rows), default=0)
    base = inline(rows).encode(
        y=alt.Y("words:N", sort=[row["words"] for row in rows], title=None, axis=alt.Axis(labelLimit=260, ticks=False)),
        x=alt.X(
            "directions:Q",
            title="directions of the weights that change no output",
            scale=alt.Scale() if top else alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format=",d", tickCount=6, tickMinStep=1),
        ),
    )
    tooltip = ["words:N", alt.Tooltip("directions:Q", format=","), alt.Tooltip("share:Q", format=".2%")]
    bars = base.mark_bar(stroke=None, height={"band": 0.68}).encode(
        color=alt.condition("datum.total", alt.value(palette.ACCENT), alt.value(palette.GREY)), tooltip=tooltip
    )
    long = f"datum.within > {LONG * top}"
    # Clear of the range of an estimate: beyond it beside a bar, before it within.
    figures = base.transform_calculate(
        beside="max(datum.directions, datum.high || 0)",
        within="isValid(datum.low) ? min(datum.directions, datum.low) : datum.directions",
    ).encode(text=alt.Text("directions:Q", format=","))
    outside = figures.transform_filter(f"!({long})").mark_text(align="left", dx=5, color=palette.INK, fontSize=11)
    outside = outside.encode(x="beside:Q")
    inside = figures.transform_filter(long).mark_text(align="right", dx=-5, color=palette.PAPER, fontSize=11)
    inside = inside.encode(x="within:Q")
    layers: list[alt.Chart] = [bars, outside, inside]
    estimates = [row for row in rows if row["low"] is not None and row["low"] < row["high"]]
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
    few = layers <= NAMES_UP_TO
    x = _named([row["label"] for row in rows], [row["depth"] for row in rows]) if few else depth_axis(layers)
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
    legend = alt.Legend(orient="top", labelLimit=260, columns=alt.ExprRef(f"width < {NARROW} ? 2 : 4"), offset=ABOVE)
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


def _named(labels: Sequence[str], depths: Sequence[int]) -> alt.X:
    """Layers by their names, level where the longest fits beside its neighbours on a page of that width, else slanted.

    Names that are cut to the same end stay two columns.
    """
    names = dict(zip(depths, labels, strict=True))
    level = round(len(names) * (max(map(len, names.values()), default=0) + 2) * LETTER)
    axis = alt.Axis(
        title=None,
        labelAngle=alt.ExprRef(f"width < {level} ? {SLANTED} : 0"),
        labelAlign=alt.ExprRef(f"width < {level} ? 'right' : 'center'"),
        labelExpr=f"(datum.value - 1) % ceil({ROOM * len(names)} / width) ? '' : {json.dumps(names)}[datum.value]",
        labelOverlap=False,
        labelLimit=LONGEST,
    )
    return alt.X("depth:O", axis=axis)
