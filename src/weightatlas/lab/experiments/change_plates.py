"""How WeightScale's experiment is shown: recruitment, accuracies beside the paper's, layers and their course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.change_charts import (
    layer_rows,
    layers_chart,
    recruitment_chart,
    recruitment_rows,
    third_rows,
    thirds_chart,
)
from weightatlas.lab.experiments.change_findings import change_findings, layers_title, recruitment_title
from weightatlas.lab.experiments.change_paper import ACCURACIES
from weightatlas.lab.experiments.plates import (
    INTERVALS,
    effects_table,
    runs_table,
    subject,
    summary,
    verdicts_table,
)
from weightatlas.plate import Chart, Column, Heading, Plate, Table

if TYPE_CHECKING:
    from weightatlas.lab.experiments.change_result import ChangeExperimentResult

RECRUITMENT: Final = (
    "Recruitment R is the mean logarithm of the change of the last third of the layers less that of the first third, "
    "each layer's change the median over checkpoints; first layer, last layer and embeddings left out. Equation 1 is "
    "the sum of |change| over the sum of |weight|; elementwise, what the paper's code computes, is the mean of their "
    "ratios."
)
TOPS: Final = {
    "train_accuracy": "train top-1",
    "train_top5": "train top-5",
    "test_accuracy": "test top-1",
    "test_top5": "test top-5",
}


def change_plates(result: ChangeExperimentResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *change_findings(result), *summary(result)]
    if result.finished:
        plates += [_recruitment(result), _layers(result), _thirds(result)]
    return [*plates, verdicts_table(result), _accuracies(result), effects_table(result), runs_table(result)]


def _recruitment(result: ChangeExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="recruitment",
            title=recruitment_title(result),
            reading=(
                "A row a variant, a dot a seed; the line is the interval over seeds, the grey tick the variant it is "
                "compared with, the pale bar what is claimed. Right of 0 the last layers change more; +0.69 is twice "
                "as much."
            ),
            method=f"{RECRUITMENT} {INTERVALS}",
            null=(
                "0: all layers change by as large a part of their weights. Layers of different size change differently "
                "by both figures, so compare variants of one network, whose layers have the same sizes."
            ),
        ),
        spec=recruitment_chart(result).to_dict(),
        rows=tuple(recruitment_rows(result)),
    )


def _layers(result: ChangeExperimentResult) -> Chart:
    rows = layer_rows(result)
    return Chart(
        Heading(
            key="layers-chart",
            title=layers_title(result),
            reading=(
                "Each point is a layer, from the first to the last of the network; a line joins those of one run. Both "
                "axes of change are logarithmic."
            ),
            method=(
                "The exponential of the median over checkpoints of the logarithm of a layer's change. First and last "
                "layer are drawn, and are left out of all figures."
            ),
        ),
        spec=layers_chart(result).to_dict(),
        rows=tuple(rows),
    )


def _thirds(result: ChangeExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="thirds",
            title="How the first, middle and last layers change as training goes on",
            reading="A panel a variant; a line a third of its layers, the mean of its seeds.",
            method="The geometric mean of equation 1 over the layers of a third, at every checkpoint.",
        ),
        spec=thirds_chart(result).to_dict(),
        rows=tuple(third_rows(result)),
    )


def _accuracies(result: ChangeExperimentResult) -> Table:
    """Table 2 of the paper beside ours."""
    rows = tuple(result.rows("accuracies"))
    paired = any(row[f"{ACCURACIES[0]}_paper"] is not None for row in rows)
    columns = [Column("variant", "variant"), Column("seeds", "seeds", "integer")]
    for name in ACCURACIES:
        columns.append(Column(name, TOPS[name], "share", 1, description="mean over seeds, in evaluation mode"))
        if paired:
            columns.append(Column(f"{name}_paper", "paper", "share", 1, description="its table 2"))
    return Table(
        Heading(
            key="accuracies",
            title="Accuracies beside the paper's table 2" if paired else "Accuracies of these networks",
            reading="One row a variant. With fewer than six classes every answer is among the five likeliest.",
            method=(
                "On a fixed sample of training data without augmentation, and on held-out data. What the paper calls "
                "ResNet50 is a ResNet-34."
            ),
        ),
        columns=tuple(columns),
        rows=rows,
    )
