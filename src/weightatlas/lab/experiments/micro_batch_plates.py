"""How the micro-batch experiment is shown: scores by method and batch size, smoothness, channels, their course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.micro_batch_charts import course_chart, course_rows, score_rows, scores_chart
from weightatlas.lab.experiments.micro_batch_findings import micro_batch_findings, scores_title
from weightatlas.lab.experiments.micro_batch_variants import DISTANCES, MARGIN, SMOOTHNESS
from weightatlas.lab.experiments.plates import (
    INTERVALS,
    effects_table,
    runs_table,
    subject,
    summary,
    tally,
    verdicts_table,
)
from weightatlas.plate import Chart, Column, Heading, Plate, Table
from weightatlas.wording import counted

if TYPE_CHECKING:
    from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult

RATES: Final = (
    "All runs of a task see the same number of images. The learning rate of a method is the best of three at the "
    "largest batch, chosen with a seed that is not shown here, and shrinks with the batch (linear scaling)."
)


def micro_batch_plates(result: MicroBatchResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *micro_batch_findings(result), *summary(result)]
    if score_rows(result):
        plates.append(_scores(result))
    if course_rows(result, SMOOTHNESS):
        plates.append(_smoothness(result))
    if course_rows(result, DISTANCES):
        plates.append(_singularities(result))
    if any(item.claim for item in result.comparisons):
        plates.append(verdicts_table(result, kept=False))
    return [*plates, _methods(result), effects_table(result), runs_table(result)]


def _scores(result: MicroBatchResult) -> Chart:
    return Chart(
        Heading(
            key="scores",
            title=scores_title(result),
            reading=(
                "A panel a task and batch size, a row a method, a dot a seed; the line is the interval of the mean. "
                "The score is held-out accuracy, of masks mean intersection over union."
            ),
            method=f"{RATES} {INTERVALS}",
        ),
        spec=scores_chart(result).to_dict(),
        rows=tuple(score_rows(result)),
    )


def _smoothness(result: MicroBatchResult) -> Chart:
    judged = [item for item in result.comparisons if item.claim is not None and item.measure in SMOOTHNESS]
    agreeing = [item for item in judged if item.verdict == "agrees"]
    title = f"Standardised weights make the loss smoother in {tally(agreeing)} of {counted(len(judged), 'comparison')}"
    return Chart(
        Heading(
            key="smoothness",
            title=title if judged else "How smooth the loss is",
            reading="A line a method, mean of the seeds; lower is smoother. A unit is a factor of ten.",
            method=(
                "The largest change of the training loss, and of its gradient, over the length of a step against the "
                "gradient of up to 1 % of the weights' length, times the weights' length (squared for the gradient): "
                "standardised weights have no scale of their own. In training mode, batches of 16."
            ),
        ),
        spec=course_chart(result, SMOOTHNESS).to_dict(),
        rows=tuple(course_rows(result, SMOOTHNESS)),
    )


def _singularities(result: MicroBatchResult) -> Chart:
    judged = [item for item in result.comparisons if item.claim is not None and item.measure in DISTANCES]
    agreeing = [item for item in judged if item.verdict == "agrees"]
    title = (
        f"Batch-channel norm keeps channels from singularities in {tally(agreeing)} of "
        f"{counted(len(judged), 'comparison')}"
    )
    return Chart(
        Heading(
            key="singularities",
            title=title if judged else "How near channels are to singularities",
            reading=(
                "A line a method, mean of the seeds. Batch norm by the statistics of its own batch would have both "
                "distances at 0."
            ),
            method=(
                "Means and deviations of every channel behind its norm and before the norm's own affine, on held-out "
                "images in evaluation mode, root mean square over channels. A channel is nearly dead that is positive "
                "before its nonlinearity in less than 5 % of places. The definitions are ours."
            ),
        ),
        spec=course_chart(result, DISTANCES).to_dict(),
        rows=tuple(course_rows(result, DISTANCES)),
    )


def _methods(result: MicroBatchResult) -> Table:
    rows = tuple(result.rows("methods"))
    return Table(
        Heading(
            key="methods",
            title="Every method at every batch size, the best first",
            reading=f"One row a variant. Less than {MARGIN:g} apart counts as as good.",
            method=f"{RATES} {INTERVALS}",
        ),
        columns=(
            Column("task", "task"),
            Column("batch", "batch", "integer"),
            Column("place", "place", "integer"),
            Column("method", "method"),
            Column("seeds", "seeds", "integer"),
            Column("learning_rate", "learning rate", "number", 4),
            Column("score", "score", "number", 3),
            Column("low", "95 % from", "number", 3),
            Column("high", "to", "number", 3),
            Column("train_accuracy", "train accuracy", "number", 3),
        ),
        rows=rows,
    )
