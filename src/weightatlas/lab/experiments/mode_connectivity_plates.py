"""How the mode connectivity experiment is shown: barriers by width and by fork, the lines, layers, verdicts, runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.mode_connectivity_charts import (
    fork_rows,
    forks_chart,
    layer_rows,
    layers_chart,
    path_rows,
    paths_chart,
    width_rows,
    widths_chart,
)
from weightatlas.lab.experiments.mode_connectivity_findings import (
    forks_title,
    layers_title,
    mode_connectivity_findings,
    widths_title,
)
from weightatlas.lab.experiments.mode_connectivity_measures import LAYERS_ON, POINTS, RECALIBRATED_ON
from weightatlas.lab.experiments.mode_connectivity_variants import INSTABILITY
from weightatlas.lab.experiments.plates import INTERVALS, effects_table, runs_table, subject, summary, verdicts_table
from weightatlas.plate import Chart, Column, Heading, Plate, Table

if TYPE_CHECKING:
    from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult

MEASURED: Final = (
    f"The highest of {POINTS} points above the chord between both ends, on held-out data. Matched: the second "
    "network's units are brought to the first one's by weight matching. Recalibrated: batch norm's statistics are "
    f"estimated anew at every point, on {RECALIBRATED_ON} batches of training data."
)


def mode_connectivity_plates(result: ModeConnectivityResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *mode_connectivity_findings(result), *summary(result)]
    if width_rows(result):
        plates.append(_widths(result))
    if fork_rows(result):
        plates.append(_forks(result))
    if path_rows(result):
        plates.append(_paths(result))
    if layer_rows(result):
        plates.append(_layers(result))
    if any(item.claim for item in result.comparisons):
        plates.append(verdicts_table(result, kept=False))
    return [*plates, _widths_table(result), _forks_table(result), effects_table(result), runs_table(result)]


def _widths(result: ModeConnectivityResult) -> Chart:
    return Chart(
        Heading(
            key="widths",
            title=widths_title(result),
            reading="A colour a kind of line, a dot a pair, a thick line through the means of the seeds.",
            method=f"{MEASURED} {INTERVALS}",
        ),
        spec=widths_chart(result).to_dict(),
        rows=tuple(width_rows(result)),
    )


def _forks(result: ModeConnectivityResult) -> Chart:
    return Chart(
        Heading(
            key="forks",
            title=forks_title(result),
            reading=(
                "From the left: independent networks, then pairs that were one network for longer and longer. The "
                f"dashed line is at {INSTABILITY:g}, below which Frankle and others call networks linearly connected."
            ),
            method=f"{MEASURED} {INTERVALS}",
        ),
        spec=forks_chart(result).to_dict(),
        rows=tuple(fork_rows(result)),
    )


def _paths(result: ModeConnectivityResult) -> Chart:
    return Chart(
        Heading(
            key="paths",
            title="The loss along the line between the two networks",
            reading="A panel a pair, a colour a kind of line, mean of the seeds; the trunk lies at 0.",
            method=MEASURED,
        ),
        spec=paths_chart(result).to_dict(),
        rows=tuple(path_rows(result)),
    )


def _layers(result: ModeConnectivityResult) -> Chart:
    return Chart(
        Heading(
            key="layers",
            title=layers_title(result),
            reading="A panel a pair of independent networks, a dot a layer of a seed: how far the loss rises, in nats.",
            method=(
                f"One layer on its way from one network's weights to the other's, on {LAYERS_ON} held-out examples: "
                "its rise half-way above its own chord, mean of both ways; below 0 the loss sags. The prediction takes "
                "slope and curvature of the loss at the ends of those lines alone."
            ),
        ),
        spec=layers_chart(result).to_dict(),
        rows=tuple(layer_rows(result)),
    )


BARRIER_COLUMNS: Final = (
    Column("barrier", "loss", "number", 3),
    Column("barrier_recalibrated", "recalibrated", "number", 3),
    Column("barrier_matched", "matched", "number", 3),
    Column("barrier_matched_recalibrated", "both", "number", 3),
    Column("error_barrier", "error", "number", 3),
    Column("error_barrier_recalibrated", "recalibrated", "number", 3),
    Column("error_barrier_matched", "matched", "number", 3),
    Column("error_barrier_matched_recalibrated", "both", "number", 3),
    Column("similarity", "similarity", "number", 3),
    Column("similarity_matched", "matched", "number", 3),
)


def _widths_table(result: ModeConnectivityResult) -> Table:
    rows = tuple(result.rows("widths"))
    return Table(
        Heading(
            key="widths-table",
            title="The barriers of independent networks by width",
            reading="One row a width: means of the seeds. All intervals are in the data below.",
            method=MEASURED,
        ),
        columns=(
            Column("family", "norm"),
            Column("width", "width", "number", 2),
            Column("seeds", "seeds", "integer"),
            Column("parameters", "parameters", "integer"),
            Column("test_accuracy", "test accuracy", "number", 3),
            *BARRIER_COLUMNS,
        ),
        rows=rows,
    )


def _forks_table(result: ModeConnectivityResult) -> Table:
    rows = tuple(result.rows("forks"))
    return Table(
        Heading(
            key="forks-table",
            title="The barriers of forks by the share of the run that they have in common",
            reading="One row a fork, independent networks first: means of the seeds.",
            method=f"{MEASURED} The angle is that at the fork between the ways of both runs.",
        ),
        columns=(
            Column("family", "norm"),
            Column("width", "width", "number", 2),
            Column("share", "forked after"),
            Column("step", "step", "integer"),
            Column("seeds", "seeds", "integer"),
            *BARRIER_COLUMNS,
            Column("distance", "distance", "number", 2),
            Column("travelled", "travelled", "number", 2),
            Column("angle", "angle", "number", 0),
        ),
        rows=rows,
    )
