"""The charts of Weight Banding's experiment, without a theme."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.banding_measures import MEASURES, PLACES
from weightatlas.lab.experiments.charts import chart_rows, variants_chart

if TYPE_CHECKING:
    from weightatlas.lab.experiments.banding_result import BandingExperimentResult

SCORES: Final = tuple(measure for measure in MEASURES if measure.key in {f"{place}_score" for place in PLACES})
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


def classifier_chart(result: BandingExperimentResult) -> alt.FacetChart:
    """Share of a classifier's squared weights over y and over x, one row a variant that sees positions."""
    rows = [row for row in result.rows("profiles") if row["position"] is not None]
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    base = alt.Chart().encode(x=alt.X("position:O", title="from the top, from the left", axis=alt.Axis(labelAngle=0)))
    lines = base.mark_line(point=alt.OverlayMarkDef(size=28), color=palette.ACCENT, opacity=0.8).encode(
        y=alt.Y("share:Q", title="share of squared weights", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True)),
        detail="seed:N",
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "axis", "position")),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    even = base.mark_line(color=palette.GREY, strokeDash=[3, 3], strokeWidth=1).encode(y="uniform:Q")
    layered = alt.layer(even, lines).properties(width=260, height=130, data=alt.InlineData(values=rows))
    faceted: alt.FacetChart = layered.facet(
        row=alt.Row("variant:N", title=None, sort=variants), column=alt.Column("axis:N", title=None, sort=["y", "x"])
    )
    return faceted
