"""The charts of the micro-batch experiment, without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.micro_batch_variants import ALL, method_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
    from weightatlas.result import Row

ROW: Final = 24
"""Height of a method's row."""

WIDTH: Final = 250
COURSE_WIDTH, COURSE_HEIGHT = 230, 130
CLASSES: Final = "classes"
"""What the task is called whose variants have no prefix."""

LABELS: Final = {
    "loss_lipschitz": "log10 Lipschitz of the loss",
    "gradient_lipschitz": "log10 Lipschitz of the gradient",
    "mean_distance": "distance of means from 0",
    "std_distance": "distance of deviations from 1",
    "near_dead": "nearly dead channels",
}


def score_rows(result: MicroBatchResult) -> list[Row]:
    """What `scores_chart` draws: a row a seed, with mean and interval of its variant."""
    means = {row["variant"]: row for row in result.rows("methods") if row["skipped"] is None}
    return [
        {
            "panel": panel(means[variant]["task"], means[variant]["batch"]),
            "method": means[variant]["method"],
            "variant": variant,
            "seed": seed,
            "score": score,
            "mean": means[variant]["score"],
            "low": means[variant]["low"],
            "high": means[variant]["high"],
        }
        for variant in means
        for seed, score in result.values(variant, "score").items()
    ]


def panel(task: str, batch: int) -> str:
    """What stands above a task and a batch size.

    Example:
        >>> panel("classes", 1), panel("masks", 16)
        ('batches of 1', 'masks, batches of 16')
    """
    return f"batches of {batch}" if task == CLASSES else f"{task}, batches of {batch}"


def scores_chart(result: MicroBatchResult) -> alt.FacetChart:
    """The score of every method: a panel a task and batch size, a dot a seed, a line the interval of the mean."""
    rows = score_rows(result)
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    methods = _methods(rows)
    base = alt.Chart().encode(
        y=alt.Y("method:N", sort=methods, title=None, axis=alt.Axis(ticks=False, domain=False, grid=False))
    )
    scale = alt.Scale(domain=[0, 1], nice=False)
    axis = alt.Axis(format="~g", tickCount=5, grid=True)
    interval = base.mark_rule(color=palette.INK, strokeWidth=1.2, clip=True).encode(
        x=alt.X("low:Q", scale=scale, title="score", axis=axis), x2="high:Q"
    )
    mean = base.mark_tick(color=palette.INK, thickness=2, size=12).encode(x=alt.X("mean:Q", scale=scale))
    dots = base.mark_point(filled=True, size=40, opacity=0.85, color=palette.INK).encode(
        x=alt.X("score:Q", scale=scale),
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed")),
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("score", "mean", "low", "high")),
        ],
    )
    layers: Any = alt.layer(interval, mean, dots)
    faceted: alt.FacetChart = layers.properties(width=WIDTH, height=ROW * len(methods)).facet(
        facet=alt.Facet("panel:N", title=None, sort=panels), columns=2, data=alt.InlineData(values=rows)
    )
    return faceted


def _methods(rows: Sequence[Row]) -> list[str]:
    """The methods of some rows, the known ones in their order, then those that a preset adds."""
    there = dict.fromkeys(row["method"] for row in rows)
    return [*(method for method in ALL if method in there), *(method for method in there if method not in ALL)]


def course_rows(result: MicroBatchResult, measures: Sequence[str]) -> list[Row]:
    """What `course_chart` draws: a row a measure and kept checkpoint, the mean of the seeds."""
    cells: dict[tuple[str, str, float], list[float]] = {}
    for row in result.rows("course"):
        for measure in measures:
            if row["progress"] is not None and row[measure] is not None:
                cells.setdefault((row["variant"], measure, row["progress"]), []).append(row[measure])
    rows: list[Row] = []
    for (variant, measure, progress), values in cells.items():
        task, method, batch = method_of(variant)
        rows.append(
            {
                "panel": panel(task or CLASSES, batch or 0),
                "method": method,
                "variant": variant,
                "measure": LABELS[measure],
                "progress": progress,
                "value": sum(values) / len(values),
                "seeds": len(values),
            }
        )
    return rows


def course_chart(result: MicroBatchResult, measures: Sequence[str]) -> alt.VConcatChart:
    """Measures over training: a row of panels a measure, a panel a task and batch size, a line a method."""
    rows = course_rows(result, measures)
    methods = _methods(rows)
    colours = alt.Scale(domain=methods, range=list(palette.CATEGORIES[: len(methods)]))
    charts = []
    for measure in measures:
        own = [row for row in rows if row["measure"] == LABELS[measure]]
        panels = list(dict.fromkeys(row["panel"] for row in own))
        lines = (
            alt.Chart()  # the facets' data: data of its own would draw every variant in every panel
            .mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=16))
            .encode(
                x=alt.X(
                    "progress:Q", title="share of the run", axis=alt.Axis(values=[0, 0.5, 1], format="~g", grid=False)
                ),
                y=alt.Y("value:Q", title=LABELS[measure], scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
                color=alt.Color("method:N", title=None, sort=methods, scale=colours),
                tooltip=[
                    *(alt.Tooltip(f"{name}:N") for name in ("variant", "seeds")),
                    *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("progress", "value")),
                ],
            )
            .properties(width=COURSE_WIDTH, height=COURSE_HEIGHT)
        )
        charts.append(
            lines.facet(
                facet=alt.Facet("panel:N", title=None, sort=panels, header=alt.Header(labelPadding=22)),
                columns=4,
                data=alt.InlineData(values=own),
            )
        )
    joined: alt.VConcatChart = alt.vconcat(*charts, spacing=18)
    return joined
