"""The charts of WeightScale's experiment, without a theme."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

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
PANEL: Final = 390
"""Width of one of two panels side by side."""

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


def measured_rows(result: ChangeExperimentResult) -> list[Row]:
    """The layers that `scale_chart` draws: those that are measured, of runs that have kept their first weights."""
    return [row for row in layer_rows(result) if row["inner"] and row["first_weight"] and row["ratio_l1"]]


def scale_chart(result: ChangeExperimentResult) -> alt.HConcatChart:
    """The typical change of every layer against the size of its first weights: a panel a network."""
    rows = measured_rows(result)
    networks = list(dict.fromkeys(row["network"] for row in rows))
    panels = [_against_size(rows, network) for network in networks]
    joined: alt.HConcatChart = alt.hconcat(*panels, spacing=30).resolve_scale(color="independent")
    return joined


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
        alt.Chart()  # the facets' data: data of its own would draw every variant in every panel
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X("record:Q", title="checkpoint", axis=alt.Axis(grid=False, tickMinStep=1)),
            y=alt.Y(
                "ratio_l1:Q",
                title="relative change",
                scale=alt.Scale(type="log", nice=False, padding=4),
                axis=alt.Axis(format="~g", tickCount=5),
            ),
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
        .properties(width=255, height=150)
    )
    faceted: alt.FacetChart = lines.facet(
        facet=alt.Facet("variant:N", title=None, sort=variants), columns=3, data=alt.InlineData(values=rows)
    )
    return faceted


def _against_size(rows: Sequence[Mapping[str, Any]], network: str) -> alt.LayerChart:
    """One network: layers by their first weights, and the line on which all weights move as far."""
    shown = [row for row in rows if row["network"] == network]
    sizes = np.array([row["first_weight"] for row in shown])
    level = float(np.exp(np.mean(np.log(sizes) + np.log([row["ratio_l1"] for row in shown]))))
    line = [{"first_weight": size, "ratio_l1": level / size} for size in (float(sizes.min()), float(sizes.max()))]
    x = alt.X(
        "first_weight:Q",
        title=f"{network}: mean |weight| before training",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(format="~g", grid=False, tickCount=5),
    )
    y = alt.Y(
        "ratio_l1:Q",
        title=f"typical change, {LABELS['ratio_l1']}",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(format="~g", tickCount=5),
    )
    dots = (
        alt.Chart(alt.InlineData(values=shown))
        .mark_point(filled=True, size=16, opacity=0.7)
        .encode(
            x=x,
            y=y,
            color=_variants(shown).legend(orient="bottom"),
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "layer")),
                *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("first_weight", "ratio_l1")),
            ],
        )
    )
    even = alt.Chart(alt.InlineData(values=line)).mark_line(strokeWidth=1.5, color=palette.GREY).encode(x=x, y=y)
    layers: Any = alt.layer(even, dots)
    panel: alt.LayerChart = layers.properties(width=PANEL, height=220)
    return panel


def _variants(rows: Sequence[Mapping[str, Any]]) -> alt.Color:
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    scale = alt.Scale(domain=variants, range=list(palette.CATEGORIES[: len(variants)]))
    return alt.Color("variant:N", title=None, scale=scale)


def _along(rows: Sequence[Mapping[str, Any]], network: str, figure: str) -> alt.LayerChart:
    """One network and figure: layers from the first to the last, a line a seed, coloured by variant."""
    shown = [row for row in rows if row["network"] == network and row[figure] is not None]
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
        color=_variants(shown),
        detail="seed:N",
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "layer", "parameters")),
            alt.Tooltip(f"{figure}:Q", format=".3~g"),
        ],
    )
    layers: Any = alt.layer(base.mark_line(strokeWidth=1, opacity=0.5), base.mark_point(filled=True, size=14))
    panel: alt.LayerChart = layers.properties(width=PANEL, height=200)
    return panel
