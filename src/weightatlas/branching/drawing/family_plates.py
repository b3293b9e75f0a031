"""The plates of families against branches: the matrices, and the information beside its null."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from weightatlas.branching.drawing import captions
from weightatlas.branching.drawing.enrichment_charts import enrichment_matrices, enrichment_rows, shown
from weightatlas.branching.drawing.network_charts import NULL_WIDTH
from weightatlas.branching.drawing.titles import families_title
from weightatlas.branching.specialization import SIGNIFICANT
from weightatlas.plate import Chart, Column, Heading, Plate, Strip, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.branching.survey import BranchingSurvey


def family_plates(survey: BranchingSurvey) -> list[Plate]:
    """Where families gather, and how much branches tell of them; nothing where there was nothing to compare."""
    if not survey.families:
        return []
    plates: list[Plate] = [_matrices(survey)] if shown(survey.families) else []
    return [*plates, _information(survey)]


def _matrices(survey: BranchingSurvey) -> Chart:
    drawn = shown(survey.families)
    return Chart(
        Heading(
            key="families",
            title=families_title(survey),
            reading=captions.FAMILIES_READING,
            method=captions.families_method(survey),
            null=captions.FAMILIES_NULL,
        ),
        spec=enrichment_matrices(survey.families).to_dict(),
        rows=tuple({"layer": one.layer, "by": one.by, **row} for one, f in drawn for row in enrichment_rows(f)),
    )


def _information(survey: BranchingSurvey) -> Table:
    rows: list[dict[str, Any]] = []
    for row in survey.rows("information"):
        strip = None
        if row["information"] is not None:
            reach = NULL_WIDTH * row["null_std"]
            strip = Strip(row["information"], max(0.0, row["null_mean"] - reach), row["null_mean"] + reach)
        rows.append({**row, "strip": strip})
    most = max((row["branch_entropy"] or 0.0 for row in rows), default=0.0)
    return Table(
        Heading(
            key="information",
            title=_information_title(rows),
            reading=(
                "One row a layer and way of sorting its units. The dot is how many bits a unit's branch tells of its "
                "family; the grey bar holds 95 in 100 permutations of branches."
            ),
            method=captions.INFORMATION_METHOD,
            null=captions.INFORMATION_NULL,
        ),
        columns=(
            Column("layer", "layer", "layer"),
            Column("by", "families by"),
            Column("strip", "bits, with their null", "strip", domain=(0.0, math.ceil(10 * max(most, 0.1)) / 10)),
            Column("information", "bits", "number"),
            Column("null_mean", "by chance", "number"),
            Column("branch_entropy", "at most", "number", description="entropy of the branches"),
            Column("p_value", "p", "probability"),
            Column("q_value", "q", "probability"),
            Column("units", "units", "integer"),
        ),
        rows=tuple(rows),
        marked=tuple((row["q_value"] if row["q_value"] is not None else 1.0) < SIGNIFICANT for row in rows),
    )


def _information_title(rows: Sequence[dict[str, Any]]) -> str:
    tested = [row for row in rows if row["information"] is not None]
    if not tested:
        return "No family could be compared with branches"
    most = max(tested, key=lambda row: row["excess"] if row["excess"] is not None else -math.inf)
    return (
        f"Families by {most['by']} share {most['information']:.2f} bits with the branches of {most['layer']}, "
        f"{most['null_mean']:.2f} by chance"
    )
