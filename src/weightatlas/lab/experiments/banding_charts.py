"""The charts of Weight Banding's experiment, without a theme."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.banding_measures import MEASURES, PLACES
from weightatlas.lab.experiments.charts import chart_rows, variants_chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.lab.experiments.banding_result import BandingExperimentResult

SCORES: Final = tuple(measure for measure in MEASURES if measure.key in {f"{place}_score" for place in PLACES})
AXES: Final = MappingProxyType({"y": "row, from the top", "x": "column, from the left"})
DIRECTIONS: Final = MappingProxyType(
    {"horizontal": palette.HORIZONTAL, "vertical": palette.VERTICAL, "none": palette.GREY}
)


def bands_chart(result: BandingExperimentResult) -> alt.HConcatChart:
    """B of the last two layers: a panel each, a row a variant, a dot a seed."""
    classes = {f"{place}_score": f"{place}_direction" for place in PLACES}
    return variants_chart(result, SCORES, classes=classes, colours=DIRECTIONS, legend="bands")


def bands_rows(result: BandingExperimentResult) -> list[dict[str, Any]]:
    """The data behind it."""
    return chart_rows(result, SCORES)


def classifier_chart(result: BandingExperimentResult) -> alt.HConcatChart:
    """Share of a classifier's squared weights over y and over x: a line a seed, coloured by variant."""
    rows = [row for row in result.rows("profiles") if row["position"] is not None]
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    top = 1.05 * max(row["share"] for row in rows)
    panels = [_profile(rows, axis, variants, top) for axis in AXES]
    joined: alt.HConcatChart = alt.hconcat(*panels, spacing=24)
    return joined


def _profile(rows: Sequence[Mapping[str, Any]], axis: str, variants: list[str], top: float) -> alt.LayerChart:
    """One axis of the map: two views joined, since facets with an order of their own mistake empty cells."""
    shown = [row for row in rows if row["axis"] == axis]
    base = alt.Chart(alt.InlineData(values=shown)).encode(
        x=alt.X("position:O", title=AXES[axis], axis=alt.Axis(labelAngle=0))
    )
    scale = alt.Scale(domain=[0, top], nice=False)
    colours = alt.Scale(domain=variants, range=list(palette.CATEGORIES[: len(variants)]))
    lines = base.mark_line(point=alt.OverlayMarkDef(size=24), opacity=0.85).encode(
        y=alt.Y("share:Q", title="share of squared weights", axis=alt.Axis(format="%"), scale=scale),
        color=alt.Color("variant:N", title=None, scale=colours),
        detail="seed:N",
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "axis", "position")),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    even = base.mark_line(color=palette.GREY, strokeDash=[3, 3], strokeWidth=1).encode(y="uniform:Q")
    layers: Any = alt.layer(even, lines)
    panel: alt.LayerChart = layers.properties(width=320, height=180)
    return panel
