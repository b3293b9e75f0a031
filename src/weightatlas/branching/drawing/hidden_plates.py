"""The plates of hidden branches: every two layers in a table, the strongest as reordered matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from weightatlas.branching.drawing import captions
from weightatlas.branching.drawing.hidden_charts import has_test, hidden_chart, hidden_rows, hides, pictured
from weightatlas.branching.drawing.network_charts import NULL_WIDTH
from weightatlas.branching.drawing.titles import hidden_title, matrix_title
from weightatlas.branching.specialization import SIGNIFICANT
from weightatlas.plate import Chart, Column, Heading, Plate, Strip, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.branching.survey import BranchingSurvey
    from weightatlas.branching.surveying.tested_pairs import HiddenPair


def hidden_plates(survey: BranchingSurvey) -> list[Plate]:
    """What two layers that follow each other hide; nothing where no two do."""
    if not survey.pairs:
        return []
    plates: list[Plate] = [_pairs(survey)]
    drawn = pictured(survey)
    if drawn:
        layers = {layer.layer for layer in survey.layers if layer.tuning is not None}
        plates.append(
            Chart(
                Heading(
                    key="matrices",
                    title=matrix_title(drawn[0]),
                    reading=captions.matrices_reading(chroma=any(pair.layer in layers for pair in drawn)),
                    method=captions.hidden_method(survey),
                    null=(
                        "Any matrix put in order of its own first axis shows a slope from corner to corner: whether it "
                        "is more than that says the table before."
                    ),
                ),
                spec=hidden_chart(survey, drawn).to_dict(),
                rows=tuple(hidden_rows(drawn)),
            )
        )
    return plates


def _pairs(survey: BranchingSurvey) -> Table:
    rows = [_pair_row(pair) for pair in survey.pairs]
    widest = max((row["strip"].value for row in rows if row.get("strip") is not None), default=0.1)
    return Table(
        Heading(
            key="hidden",
            title=hidden_title(survey),
            reading=(
                "One row for two layers of which the second reads the first alone. The dot is the share of the first "
                "axis, the grey bar what 95 in 100 draws of the null give. rho is its rank correlation with what the "
                "units of the first layer are tuned to, where they see colours; its sign means nothing."
            ),
            method=captions.hidden_method(survey),
            null=captions.hidden_null(survey),
        ),
        columns=_columns(rows, widest),
        rows=tuple(rows),
        marked=tuple(hides(pair) for pair in survey.pairs),
    )


def _columns(rows: Sequence[Mapping[str, Any]], widest: float) -> tuple[Column, ...]:
    """Left to right; what no row has is no column."""
    columns = (
        Column("next", "layer", "layer", description="the layer that reads"),
        Column("layer", "reads"),
        Column("strip", "share of axis 1", "strip", domain=(0.0, math.ceil(20 * widest) / 20)),
        Column("share", "share", "share", digits=3),
        Column("p_value", "p", "probability"),
        Column("q_value", "q", "probability"),
        Column("axes", "axes", "integer", description=f"of those computed, axes with q < {SIGNIFICANT:g}"),
        Column("chroma_rho", "rho chroma", "signed", digits=2),
        Column("frequency_rho", "rho frequency", "signed", digits=2),
        Column("units", "units", "integer"),
        Column("next_units", "next", "integer"),
    )
    empty = {"chroma_rho", "frequency_rho"} - {key for row in rows for key in row}
    return tuple(column for column in columns if column.key not in empty)


def _pair_row(pair: HiddenPair) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": pair.layer or None, "next": pair.next_layer, "skipped": pair.skipped}
    hidden = pair.hidden
    if hidden is None or not len(hidden.shares):
        return row
    reach = NULL_WIDTH * float(hidden.null_std[0])
    mean = float(hidden.null_mean[0])
    row |= {
        "strip": Strip(float(hidden.shares[0]), max(0.0, mean - reach), mean + reach) if has_test(pair) else None,
        "share": float(hidden.shares[0]),
        "p_value": float(hidden.p_values[0]) if has_test(pair) else None,
        "q_value": pair.q_values[0] if pair.q_values and has_test(pair) else None,
        "axes": int(np.count_nonzero(np.asarray(pair.q_values) < SIGNIFICANT)),
        "units": len(hidden.left),
        "next_units": len(hidden.right),
    }
    for name, found in hidden.correlations.items():
        row[f"{name}_rho"] = found[0].rho
    return row
