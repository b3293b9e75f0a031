"""Variants side by side: every seed a dot, the mean with its interval, the baseline, and where a claim puts it."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.effects import mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.lab.experiments.comparing import Comparison
    from weightatlas.lab.experiments.experiment import Measure
    from weightatlas.lab.experiments.result import ExperimentResult

ROW: Final = 26
"""Height of a variant's row."""

WIDTH: Final = 300
MARKS: Final = MappingProxyType({"agrees": "✓ agrees", "disagrees": "✗ disagrees", "undecided": "? undecided"})
SEEDS: Final = MappingProxyType({"seed": palette.INK})


def variants_chart(
    result: ExperimentResult,
    measures: Sequence[Measure],
    *,
    classes: Mapping[str, str] | None = None,
    colours: Mapping[str, str] = SEEDS,
    legend: str | None = None,
) -> alt.HConcatChart:
    """One panel a measure, one row a variant.

    Args:
        result: what is drawn.
        measures: a panel each.
        classes: for a measure's key, the key of the text that colours its dots.
        colours: of each such text.
        legend: title of the colours; None has no legend.
    """
    comparisons = result.comparisons
    reach = _reach(result, measures)
    charts = []
    for number, measure in enumerate(measures):
        rows = _dots(result, measure, (classes or {}).get(measure.key))
        ranges = _ranges(result, measure, comparisons, reach)
        charts.append(_panel(rows, ranges, measure, reach, first=number == 0, colours=colours, legend=legend))
    joined: alt.HConcatChart = alt.hconcat(*charts, spacing=18).resolve_scale(color="shared")
    return joined


def chart_rows(result: ExperimentResult, measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """The data behind `variants_chart`: a row for each seed of each variant and measure."""
    return [
        {"variant": row["variant"], "seed": row["seed"], "measure": measure.label, "value": row["value"]}
        for measure in measures
        for row in _dots(result, measure, None)
    ]


def _dots(result: ExperimentResult, measure: Measure, coloured_by: str | None) -> list[dict[str, Any]]:
    rows = []
    for variant in result.experiment.variants:
        values = result.values(variant.name, measure.key)
        for done in result.of(variant.name):
            if done.seed in values:
                text = "seed" if coloured_by is None else str(done.figure(coloured_by))
                rows.append({"variant": variant.name, "seed": done.seed, "value": values[done.seed], "class": text})
    return rows


def _ranges(
    result: ExperimentResult, measure: Measure, comparisons: Sequence[Comparison], reach: float
) -> list[dict[str, Any]]:
    """For every variant: mean, interval, baseline, the zone of its first claim, and the verdict."""
    ranges = []
    for variant in result.experiment.variants:
        found = [item for item in comparisons if (item.variant, item.measure) == (variant.name, measure.key)]
        row: dict[str, Any] = {"variant": variant.name, "mark": "", "claim": ""}
        if found and found[0].effect.pairs:
            effect, claim = found[0].effect, found[0].claim
            row |= {"mean": effect.variant.mean, "low": effect.variant.low, "high": effect.variant.high}
            if variant.against is not None:
                row["baseline"] = effect.baseline.mean
            if claim is not None:
                low, high = zone(found[0], reach)
                row |= {"from": low, "to": high, "mark": MARKS[found[0].verdict or "undecided"]}
                row["claim"] = claim.article or f"{claim.expected} (ours)"
        else:
            values = list(result.values(variant.name, measure.key).values())
            row["mean"] = sum(values) / len(values) if values else None
        ranges.append(row)
    return ranges


def zone(item: Comparison, reach: float) -> tuple[float, float]:
    """Where a claim puts the variant's values, within the axis.

    Args:
        item: a comparison with a claim.
        reach: the axis runs from -reach to reach.
    """
    claim, baseline = item.claim, item.effect.baseline.mean
    if claim is None:
        return 0.0, 0.0
    half = baseline / 2 if item.half is None else item.half
    zones = {
        "present": (claim.floor, reach),
        "reversed": (-reach, -claim.floor),
        "absent": (-claim.floor, claim.floor),
        "lower": (-reach, baseline),
        "higher": (baseline, reach),
        "same": (baseline - claim.floor, baseline + claim.floor),
        "not lower": (baseline - claim.floor, reach),
        "under half": (-reach, half),
        "over half": (half, reach),
    }
    low, high = zones[claim.expected]
    return max(low, -reach), min(high, reach)


def _reach(result: ExperimentResult, measures: Sequence[Measure]) -> float:
    """Half the axis, one for all panels: the largest value or interval, rounded up to a tenth.

    Intervals of two seeds may be many times as wide as the values lie apart; beyond twice the largest value they are
    cut off.
    """
    cells = [
        list(result.values(variant.name, measure.key).values())
        for measure in measures
        for variant in result.experiment.variants
    ]
    largest = max((abs(value) for values in cells for value in values), default=0.1)
    intervals = [mean_interval(values) for values in cells]
    ends = [abs(end) for found in intervals for end in (found.low, found.high) if end is not None]
    return math.ceil(10.5 * max(largest, min(max(ends, default=0.0), 2 * largest)) + 1e-9) / 10


def _panel(
    rows: Sequence[Mapping[str, Any]],
    ranges: Sequence[Mapping[str, Any]],
    measure: Measure,
    reach: float,
    *,
    first: bool,
    colours: Mapping[str, str],
    legend: str | None,
) -> alt.LayerChart:
    names = [row["variant"] for row in ranges]
    axis = alt.Axis(title=None, ticks=False, domain=False, labelLimit=160, grid=False) if first else None
    y = alt.Y("variant:N", sort=names, axis=axis, scale=alt.Scale(domain=names, paddingInner=0.12))
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    base = alt.Chart(alt.InlineData(values=list(ranges))).encode(y=y)
    ticks = alt.Axis(grid=False, format="+.2~f", tickCount=5, labelExpr="datum.value === 0 ? '0' : datum.label")
    low = alt.X("from:Q", scale=scale, title=measure.label, axis=ticks)
    claim_tip = [alt.Tooltip("variant:N"), alt.Tooltip("claim:N"), alt.Tooltip("mark:N", title="verdict")]
    claimed = base.mark_bar(color=palette.NULL, cornerRadius=2).encode(x=low, x2="to:Q", tooltip=claim_tip)
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=palette.GREY, strokeWidth=0.6)
    before = base.mark_tick(color=palette.GREY, thickness=1.2, size=ROW).encode(x=alt.X("baseline:Q", scale=scale))
    spread = base.mark_rule(color=palette.INK, strokeWidth=1.2, clip=True).encode(
        x=alt.X("low:Q", scale=scale), x2="high:Q"
    )
    mean = base.mark_tick(color=palette.INK, thickness=2, size=12).encode(x=alt.X("mean:Q", scale=scale))
    dots = (
        alt.Chart(alt.InlineData(values=list(rows)))
        .mark_point(filled=True, size=46, opacity=0.85)
        .encode(
            y=y,
            x=alt.X("value:Q", scale=scale),
            color=alt.Color(
                "class:N",
                title=legend,
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=None if legend is None or not first else alt.Legend(),
            ),
            tooltip=[alt.Tooltip("variant:N"), alt.Tooltip("seed:Q"), alt.Tooltip("value:Q", format="+.3f")],
        )
    )
    words = base.mark_text(align="left", dx=6, color=palette.GREY, fontSize=10.5).encode(
        x=alt.value(WIDTH), text="mark:N"
    )
    layers: Any = alt.layer(claimed, zero.encode(x="zero:Q"), before, spread, mean, dots, words)
    panel: alt.LayerChart = layers.properties(width=WIDTH, height=ROW * len(names))
    return panel
