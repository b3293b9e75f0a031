"""The charts of WeightScale's experiment, without a theme."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.change_measures import FIGURES, MEASURES
from weightatlas.lab.experiments.change_result import THIRDS
from weightatlas.lab.experiments.charts import chart_rows, variants_chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.lab.experiments.change_result import ChangeExperimentResult
    from weightatlas.result import Row

RECRUITMENT: Final = tuple(
    measure for measure in MEASURES if measure.key in {f"recruitment{e}" for e in FIGURES.values()}
)
LABELS: Final = MappingProxyType({"ratio_l1": "equation 1", "elementwise": "elementwise"})
MOST_POINTS: Final = 4000
"""Points of a chart; beyond, only the first seed is drawn."""


def recruitment_chart(result: ChangeExperimentResult) -> alt.HConcatChart:
    """Recruitment by both figures: a panel each, a row a variant, a dot a seed."""
    return variants_chart(result, RECRUITMENT)


def recruitment_rows(result: ChangeExperimentResult) -> list[dict[str, Any]]:
    """The data behind it."""
    return chart_rows(result, RECRUITMENT)


def layer_rows(result: ChangeExperimentResult) -> list[Row]:
    """The layers that `layers_chart` draws: of all seeds, or of the first where they are too many."""
    rows = [row for row in result.rows("layers") if row["layer"] is not None]
    if len(rows) > MOST_POINTS:
        first = {
            row["network"]: min(other["seed"] for other in rows if other["network"] == row["network"]) for row in rows
        }
        rows = [row for row in rows if row["seed"] == first[row["network"]]]
    return rows


def layers_chart(result: ChangeExperimentResult) -> alt.VConcatChart:
    """The typical change of every layer along the network: a row of panels a network, a panel a figure."""
    rows = layer_rows(result)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    panels = [alt.hconcat(*(_along(rows, network, figure) for figure in FIGURES), spacing=24) for network in networks]
    joined: alt.VConcatChart = alt.vconcat(*panels, spacing=18).resolve_scale(color="independent")
    return joined


def third_rows(result: ChangeExperimentResult) -> list[Row]:
    """What `thirds_chart` draws: means of the seeds."""
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in result.rows("thirds"):
        if row["part"] is not None and row["ratio_l1"] is not None:
            cells.setdefault((row["variant"], row["part"], row["record"]), []).append(row)
    return [
        {
            "variant": variant,
            "part": part,
            "record": record,
            "ratio_l1": sum(row["ratio_l1"] for row in rows) / len(rows),
            "seeds": len(rows),
        }
        for (variant, part, record), rows in cells.items()
    ]


def thirds_chart(result: ChangeExperimentResult) -> alt.FacetChart:
    """How the thirds of a network change as training goes on: a panel a variant, a line a third."""
    rows = third_rows(result)
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X("record:Q", title="checkpoint", axis=alt.Axis(grid=False, tickMinStep=1)),
            y=alt.Y("ratio_l1:Q", title="relative change", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g")),
            color=alt.Color(
                "part:N",
                title=None,
                sort=list(THIRDS),
                scale=alt.Scale(domain=list(THIRDS), range=list(palette.CATEGORIES[: len(THIRDS)])),
            ),
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("variant", "part", "record")),
                alt.Tooltip("ratio_l1:Q", title="equation 1", format=".3~g"),
            ],
        )
        .properties(width=190, height=130)
    )
    faceted: alt.FacetChart = lines.facet(
        facet=alt.Facet("variant:N", title=None, sort=variants), columns=3, data=alt.InlineData(values=rows)
    )
    return faceted


def _along(rows: Sequence[Mapping[str, Any]], network: str, figure: str) -> alt.LayerChart:
    """One network and figure: layers from the first to the last, a line a seed, coloured by variant."""
    shown = [row for row in rows if row["network"] == network and row[figure] is not None]
    variants = list(dict.fromkeys(row["variant"] for row in shown))
    base = alt.Chart(alt.InlineData(values=shown)).encode(
        x=alt.X(
            "place:Q",
            title=f"{network}: place along the network",
            axis=alt.Axis(values=[0, 0.5, 1], format="~g", grid=False),
        ),
        y=alt.Y(
            f"{figure}:Q",
            title=f"typical change, {LABELS[figure]}",
            scale=alt.Scale(type="log", nice=False, padding=8),
            axis=alt.Axis(format="~g", tickCount=5),
        ),
        color=alt.Color(
            "variant:N",
            title=None,
            scale=alt.Scale(domain=variants, range=list(palette.CATEGORIES[: len(variants)])),
        ),
        detail="seed:N",
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "layer", "parameters")),
            alt.Tooltip(f"{figure}:Q", format=".3~g"),
        ],
    )
    layers: Any = alt.layer(base.mark_line(strokeWidth=1, opacity=0.5), base.mark_point(filled=True, size=14))
    panel: alt.LayerChart = layers.properties(width=320, height=200)
    return panel
