"""The charts of Branch Specialization's experiment, without a theme."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.branch_measures import BLOCKS, SEPARATE, SIGNED
from weightatlas.lab.experiments.charts import chart_rows, variants_chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.branch_result import BranchExperimentResult
    from weightatlas.lab.experiments.experiment import Measure
    from weightatlas.result import Row

CHROMA: Final = tuple(measure for measure in SIGNED if measure.key.startswith("chroma"))
PANEL: Final = 255


def separation_chart(result: BranchExperimentResult) -> alt.HConcatChart:
    """What lies between branches: colour without a threshold, with one, and frequency; a panel each."""
    return variants_chart(that_have(result, SEPARATE), SEPARATE)


def signed_chart(result: BranchExperimentResult) -> alt.HConcatChart:
    """Which of two branches took colour: by width, by kernel size."""
    return variants_chart(that_have(result, CHROMA), CHROMA)


def blocks_chart(result: BranchExperimentResult) -> alt.HConcatChart:
    """Information of residual blocks."""
    return variants_chart(that_have(result, BLOCKS), BLOCKS)


def that_have(result: BranchExperimentResult, measures: Sequence[Measure]) -> BranchExperimentResult:
    """The variants that have one of these measures, so that the others leave no empty rows."""
    kept = tuple(
        variant
        for variant in result.experiment.variants
        if any(result.values(variant.name, measure.key) for measure in measures)
    )
    names = {variant.name for variant in kept}
    kept = tuple(variant if variant.against in names else replace(variant, against=None, claims=()) for variant in kept)
    if not kept:
        return result
    runs = tuple(done for done in result.runs if done.variant in names)
    return replace(result, experiment=replace(result.experiment, variants=kept), runs=runs)


def measured(result: BranchExperimentResult, measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """The data behind one of them."""
    return chart_rows(result, measures)


def onset_rows(result: BranchExperimentResult) -> list[Row]:
    """The steps that `onset_chart` draws."""
    return [row for row in result.rows("onset") if row["separation"] is not None]


def onset_chart(result: BranchExperimentResult) -> alt.FacetChart:
    """Colour between branches along the run: a panel a variant, a line a seed."""
    rows = onset_rows(result)
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    lines = (
        alt.Chart()  # the facets' data: data of its own would draw every variant in every panel
        .mark_line(strokeWidth=1.4, color=palette.INK, opacity=0.75)
        .encode(
            x=alt.X("progress:Q", title="share of the run", axis=alt.Axis(values=[0, 0.5, 1], format="~g", grid=False)),
            y=alt.Y("separation:Q", title="colour between branches", axis=alt.Axis(format="~g", tickCount=4)),
            detail="seed:N",
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "step")),
                *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("separation", "excess")),
            ],
        )
        .properties(width=PANEL, height=120)
    )
    faceted: alt.FacetChart = lines.facet(
        facet=alt.Facet("variant:N", title=None, sort=variants), columns=3, data=alt.InlineData(values=rows)
    )
    return faceted


def family_rows(result: BranchExperimentResult) -> list[Row]:
    """What `families_chart` draws: the blocks of the first seed that has them."""
    rows = [row for row in result.rows("blocks") if row["block"] is not None]
    seed = min((row["seed"] for row in rows), default=None)
    return [row for row in rows if row["seed"] == seed]


def families_chart(result: BranchExperimentResult) -> alt.FacetChart:
    """The families of the units of every residual block: a bar a block, a panel a variant."""
    rows = family_rows(result)
    families = list(dict.fromkeys(row["family"] for row in rows))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    bars = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("block:N", title=None, sort=None, axis=alt.Axis(labelAngle=-90)),
            y=alt.Y("share:Q", title="units", axis=alt.Axis(format="%", tickCount=3), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "family:N",
                title=None,
                sort=families,
                scale=alt.Scale(domain=families, range=list(palette.CATEGORIES[: len(families)])),
            ),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "block", "family", "units")],
        )
        .properties(width=alt.Step(18), height=140)
    )
    faceted: alt.FacetChart = bars.facet(
        facet=alt.Facet("variant:N", title=None, sort=variants), columns=2, data=alt.InlineData(values=rows)
    ).resolve_scale(x="independent")
    return faceted
