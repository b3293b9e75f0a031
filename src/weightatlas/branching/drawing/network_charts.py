"""The whole network and the whole run: clusterability beside its null, specialisation from step to step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.drawing.axes import inline
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.branching.clusterability import Clusterability
    from weightatlas.branching.onset import Onset

BINS: Final = 24
NULL_WIDTH: Final = 1.96
"""Half-width of the grey band in standard deviations: 95 % of permutations fall inside."""
LAYERS: Final = 300
"""Layers that are drawn at most, spread evenly over the network."""
NAMED: Final = 64
"""Layers that are named at most."""
COURSES: Final = 8
"""Courses in a panel of their own; more are left to the table."""


def clusterability_chart(found: Clusterability) -> alt.LayerChart:
    """The n-cut of the shuffled networks as bars, that of the network as a line."""
    null = np.asarray(found.null, dtype=np.float64)
    known = null[np.isfinite(null)]
    counts, edges = np.histogram(known, bins=min(BINS, max(4, len(known) // 3)))
    rows = [
        {"low": float(low), "high": float(high), "networks": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    x = alt.X("low:Q", bin="binned", title="n-cut: lower is more clustered", scale=alt.Scale(zero=False, nice=True))
    y = alt.Y("networks:Q", title="shuffled networks", axis=alt.Axis(format="d", tickMinStep=1))
    bars = inline(rows).mark_bar(color=palette.GREY, opacity=0.55).encode(x=x, x2="high:Q", y=y)
    own = inline([{"ncut": found.ncut, "text": f"this network, {found.ncut:.2f}"}]).encode(x="ncut:Q")
    line = own.mark_rule(color=palette.ACCENT, strokeWidth=2)
    right = bool(found.ncut > known.mean()) if known.size else False
    label = own.mark_text(
        color=palette.ACCENT, align="right" if right else "left", dx=-6 if right else 6, fontWeight=600
    ).encode(text="text:N", y=alt.value(8))
    layered: Any = alt.layer(bars, line, label)
    chart: alt.LayerChart = layered.properties(width="container", height=200)
    return chart


def share_rows(found: Clusterability) -> list[dict[str, Any]]:
    """For each layer that is drawn the share of its units in each cluster; neighbours beyond the most are thinned."""
    names = [name for name, sizes in found.sizes.items() if sizes.sum()]
    kept = [names[place] for place in np.linspace(0, len(names) - 1, min(LAYERS, len(names))).round().astype(int)]
    return [
        {"depth": depth, "layer": printable(name, limit=60), "cluster": cluster + 1, "share": share}
        for depth, name in enumerate(kept)
        for cluster, share in enumerate((found.sizes[name] / found.sizes[name].sum()).tolist())
        if share
    ]


def shares_chart(found: Clusterability) -> alt.Chart:
    """Each layer's units by cluster as one stacked bar, from the input down."""
    rows = share_rows(found)
    layers = list(dict.fromkeys(row["depth"] for row in rows))
    names = {row["depth"]: row["layer"] for row in rows}
    every = max(1, -(-len(layers) // NAMED))
    texts = [names[depth][-36:] if depth % every == 0 else "" for depth in layers]
    axis = alt.Axis(labelExpr=f"{json.dumps(texts)}[datum.value]", labelOverlap=False, ticks=False, domain=False)
    step = max(2, min(16, 900 // max(len(layers), 1)))
    chart: alt.Chart = (
        inline(rows)
        .mark_bar()
        .encode(
            y=alt.Y("depth:O", title=None, axis=axis, scale=alt.Scale(paddingInner=0.15 if step > 6 else 0)),
            x=alt.X(
                "share:Q",
                title="share of units",
                stack="zero",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            color=alt.Color("cluster:N", title="cluster", scale=alt.Scale(range=_cluster_colours(found.clusters))),
            order=alt.Order("cluster:O"),
            tooltip=["layer:N", "cluster:N", alt.Tooltip("share:Q", format=".0%")],
        )
        .properties(width="container", height=step * len(layers))
    )
    return chart


def _cluster_colours(count: int) -> list[str]:
    """The palette's categories, and its scale where they run out."""
    colours = [*palette.CATEGORIES, *palette.SEQUENTIAL[1:], palette.RULE]
    return [colours[place % len(colours)] for place in range(count)]


def onset_chart(onsets: Sequence[Onset]) -> alt.LayerChart | alt.FacetChart:
    """Mutual information at every step as a line, 95 % of permutations as a band; a panel for each way of sorting."""
    values = [
        {
            "panel": f"{printable(onset.layer, limit=40)}, by {onset.by}",
            "step": step.step,
            "information": step.information,
            "null": step.null_mean,
            "low": max(0.0, step.null_mean - NULL_WIDTH * step.null_std),
            "high": step.null_mean + NULL_WIDTH * step.null_std,
        }
        for onset in onsets
        for step in onset.steps
        if step.skipped is None
    ]
    names = list(dict.fromkeys(str(value["panel"]) for value in values))[:COURSES]
    base = inline(values) if len(names) <= 1 else alt.Chart()
    x = alt.X("step:Q", title=onsets[0].unit if onsets else "step", axis=alt.Axis(format="~s", tickCount=6))
    band = base.mark_area(color=palette.NULL, opacity=1).encode(
        x=x, y=alt.Y("low:Q", title="mutual information, bits"), y2="high:Q"
    )
    mean = base.mark_line(color=palette.GREY, strokeDash=[4, 4]).encode(x=x, y="null:Q")
    line = base.mark_line(color=palette.ACCENT, point={"filled": True, "size": 30, "color": palette.ACCENT}).encode(
        x=x, y="information:Q", tooltip=["step:Q", alt.Tooltip("information:Q", format=".3f")]
    )
    layered: Any = alt.layer(band, mean, line)
    if len(names) <= 1:
        single: alt.LayerChart = layered.properties(width="container", height=240)
        return single
    kept = [value for value in values if value["panel"] in names]
    columns = min(2, len(names))
    faceted: alt.FacetChart = layered.properties(width=900 // columns - 60, height=160).facet(
        facet=alt.Facet("panel:N", title=None, sort=names), columns=columns, data=inline(kept).data
    )
    return faceted
