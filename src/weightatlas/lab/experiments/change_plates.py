"""How WeightScale's experiment is shown: recruitment, accuracies beside the paper's, layers and their course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.change_charts import (
    layer_rows,
    layers_chart,
    measured_rows,
    recruitment_chart,
    recruitment_rows,
    scale_chart,
    third_rows,
    thirds_chart,
)
from weightatlas.lab.experiments.change_findings import change_findings, recruitment_title, scale_title
from weightatlas.lab.experiments.change_paper import ACCURACIES, TOPS
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


def change_plates(result: ChangeExperimentResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *change_findings(result), *summary(result)]
    if result.finished:
        plates += [_recruitment(result), _scale(result), _layers(result), _thirds(result)]
    return [*plates, verdicts_table(result, kept=False), _accuracies(result), effects_table(result), runs_table(result)]


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


def _scale(result: ChangeExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="scale",
            title=scale_title(result),
            reading=(
                "Each dot is a layer of a run: how large its weights are at first, and by how large a part of them it "
                "changes. On a line that falls as the grey one all weights move as far, whatever their layer; both "
                "axes are logarithmic."
            ),
            method=(
                "The mean |weight| before training; the exponential of the median over checkpoints of the logarithm "
                "of equation 1. First layer, last layer and embeddings left out. The grey line is one over |weight|, "
                "at the geometric mean of the dots."
            ),
            null=(
                "The grey line: the change of a layer is then that of its first weights alone. Later layers start with "
                "smaller weights where they are wider."
            ),
        ),
        spec=scale_chart(result).to_dict(),
        rows=tuple(measured_rows(result)),
    )


def _layers(result: ChangeExperimentResult) -> Chart:
    rows = layer_rows(result)
    return Chart(
        Heading(
            key="layers-chart",
            title="The change of every layer along the network",
            reading=(
                "Each point is a layer, from the first to the last of the network; a line joins those of one run. Both "
                "axes of change are logarithmic."
            ),
            method=(
                "The exponential of the median over checkpoints of the logarithm of a layer's change. First and last "
                "layer are drawn, and are left out of all figures. Of very many layers the first seed alone is drawn."
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
        columns.append(Column(name, TOPS[name], "share", 3, description="mean over seeds, in evaluation mode"))
        if paired:
            columns.append(Column(f"{name}_paper", "paper", "share", 3, description="its table 2"))
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
