"""How a branching survey is shown: findings, branches, units in columns, tuning, families, hidden branches, onset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.branching.charts import cardinal, orientation_chart, orientation_rows, tuning_chart
from weightatlas.branching.drawing import captions
from weightatlas.branching.drawing.family_plates import family_plates
from weightatlas.branching.drawing.hidden_plates import hidden_plates
from weightatlas.branching.drawing.network_plates import network_plates
from weightatlas.branching.drawing.titles import branches_title, columns_title, orientation_title, tuning_title
from weightatlas.branching.drawing.tuned_groups import tuned_groups, unit_rows
from weightatlas.branching.findings import branching_findings
from weightatlas.branching.pictures.kernels import GREY
from weightatlas.plate import Chart, Column, ColumnGroup, Columns, Heading, Plate, Subject, Table, UnitColumn
from weightatlas.wording import capitalized, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.branching.drawing.tuned_groups import TunedColumn, TunedGroup
    from weightatlas.branching.survey import BranchingSurvey

MEASURES: Final = ("chroma", "frequency", "orientation", "selectivity", "norm")
"""What the reader can sort units by, the first to begin with."""
SPREAD: Final = 6
"""Oriented units from which their orientations are drawn; fewer have no distribution."""


def survey_plates(survey: BranchingSurvey) -> list[Plate]:
    """All plates of a survey; what there is nothing to show of has none, or the table that says why."""
    groups = tuned_groups(survey)
    plates: list[Plate] = [_subject(survey), *branching_findings(survey)]
    drawn = [group for group in groups if any(column.layer.pictures is not None for column in group.columns)]
    if drawn:
        plates.append(_columns(drawn))
    if survey.branchings:
        plates.append(_branches(survey))
    if any(row["frequency"] is not None for row in unit_rows(groups)):
        plates.append(_tuning(survey, groups))
    if cardinal(groups)[1] >= SPREAD:
        plates.append(_orientations(survey, groups))
    return [*plates, *family_plates(survey), *hidden_plates(survey), *network_plates(survey)]


def _subject(survey: BranchingSurvey) -> Subject:
    branched = {branching.layer for branching in survey.branchings}
    facts = [counted(len(survey.layers), "weight")]
    if branched:
        facts.append(counted(len(branched), "branched layer"))
    return Subject(survey.source, tuple(facts))


def _columns(groups: Sequence[TunedGroup]) -> Columns:
    return Columns(
        Heading(
            key="columns",
            title=columns_title(groups),
            reading=captions.columns_reading(groups),
            method=captions.columns_method(groups),
            null="None for a picture; whether families gather in branches is tested below, where there are branches.",
        ),
        tuple(_column_group(group) for group in groups),
    )


def _column_group(group: TunedGroup) -> ColumnGroup:
    skipped = sum(len(set(column.tuning.skipped) & set(column.rows.tolist())) for column in group.columns)
    pictured = [(column, column.layer.pictures) for column in group.columns]
    shapes = [pictures.shape[1:3] for _, pictures in pictured if pictures is not None]
    height, width = (max(sides) for sides in zip(*shapes, strict=True))
    columns = tuple(
        _unit_column(column, _framed(pictures[column.rows], height, width))
        for column, pictures in pictured
        if pictures is not None
    )
    seen = f"{group.colour} see colour"
    stand = "stands" if skipped == 1 else "stand"
    note = f"{capitalized(counted(skipped, 'unit'))} could not be measured and {stand} last."
    return ColumnGroup(
        layer=group.layer,
        columns=columns,
        facts=(counted(group.units, "unit"), seen),
        note=note if skipped else "",
    )


def _unit_column(column: TunedColumn, images: npt.NDArray[np.uint8]) -> UnitColumn:
    labels = {"class": tuple(column.tuning.classes[row] for row in column.rows)}
    if column.layer.responses is not None:
        labels["responds to"] = tuple(column.layer.responses.labels[row] for row in column.rows)
    count = len(column.rows)
    return UnitColumn(
        title=column.title,
        images=images,
        units=column.units,
        facts=(f"{count} unit{'' if count == 1 else 's'}", f"{column.colour} see colour", f"kernels {column.kernel}"),
        measures={name: getattr(column.tuning, name)[column.rows] for name in MEASURES},
        labels=labels,
        category=column.category,
    )


def _framed(images: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Images in the middle of a common frame, of the grey that stands for no weight; columns count units, then."""
    down, across = height - images.shape[1], width - images.shape[2]
    sides = ((0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    framed: npt.NDArray[np.uint8] = np.pad(images, sides, constant_values=GREY)
    return framed


def _branches(survey: BranchingSurvey) -> Table:
    rows: list[dict[str, Any]] = [dict(row) for row in survey.rows("branches")]
    for row in rows:
        if row["skipped"] is None:
            row["share"] = row["size"] / row["units"] if row["units"] else None
            row["weights"] = len(row["weights"])
    notes = [*survey.notes, *(branching.note for branching in survey.branchings if branching.note)]
    said = captions.note_sentences(list(dict.fromkeys(notes)))
    return Table(
        Heading(
            key="branches",
            title=branches_title(survey),
            reading=(
                "One row a branch, in the order of the network. The share is of the units of the joined layer; the "
                "kernel is the largest on the path, the bottleneck its narrowest layer before the last."
            ),
            method=(
                "Paths side by side are read off the graph that the model runs; without a model, only the groups of a "
                f"convolution are known, from shapes. {said}"
            ).strip(),
        ),
        columns=_branch_columns(rows),
        rows=tuple(rows),
    )


def _branch_columns(rows: Sequence[dict[str, Any]]) -> tuple[Column, ...]:
    """Left to right; a bottleneck only where a path has one."""
    columns = (
        Column("layer", "layer", "layer"),
        Column("kind", "joined by"),
        Column("branch", "branch"),
        Column("size", "units", "integer"),
        Column("share", "of the layer", "share", digits=2),
        Column("kernel", "kernel", "shape"),
        Column("bottleneck", "bottleneck", "integer", description="units of the narrowest layer before the last"),
        Column("weights", "layers", "integer", description="weight layers on the path"),
    )
    return tuple(column for column in columns if any(row.get(column.key) is not None for row in rows))


def _tuning(survey: BranchingSurvey, groups: Sequence[TunedGroup]) -> Chart:
    return Chart(
        Heading(
            key="tuning",
            title=tuning_title(groups),
            reading=captions.tuning_reading(groups),
            method=f"{captions.CHROMA} {captions.FREQUENCY}",
            null=captions.TUNING_NULL,
        ),
        spec=tuning_chart(survey).to_dict(),
        rows=tuple(_without(unit_rows(groups), "panel")),
    )


def _orientations(survey: BranchingSurvey, groups: Sequence[TunedGroup]) -> Chart:
    return Chart(
        Heading(
            key="orientations",
            title=orientation_title(groups),
            reading=captions.orientation_reading(),
            method=captions.FREQUENCY,
            null=captions.ORIENTATION_NULL,
        ),
        spec=orientation_chart(survey).to_dict(),
        rows=tuple(_without(orientation_rows(groups), "panel", "class")),
    )


def _without(rows: Sequence[dict[str, Any]], *fields: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in fields} for row in rows]
