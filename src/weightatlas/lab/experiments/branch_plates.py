"""How Branch Specialization's experiment is shown: colour between branches, their kernels, width, onset, blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.lab.experiments.branch_charts import (
    CHROMA,
    blocks_chart,
    families_chart,
    family_rows,
    measured,
    onset_chart,
    onset_rows,
    separation_chart,
    signed_chart,
)
from weightatlas.lab.experiments.branch_findings import branch_findings, crossed_title, separation_title
from weightatlas.lab.experiments.branch_measures import BLOCKS, SEPARATE
from weightatlas.lab.experiments.plates import (
    INTERVALS,
    effects_table,
    runs_table,
    subject,
    summary,
    tally,
    verdicts_table,
)
from weightatlas.plate import Chart, Column, ColumnGroup, Columns, Heading, Plate, Table, UnitColumn
from weightatlas.wording import capitalized, counted, number

if TYPE_CHECKING:
    from weightatlas.lab.experiments.branch_result import BranchExperimentResult
    from weightatlas.lab.experiments.result import ExperimentRun

SEPARATION: Final = (
    "Colour and frequency between branches are Kelley's epsilon squared: the share of the variance of chroma (of "
    "frequency) over first-layer units that lies between branches, less what chance gives. Information is that of "
    f"branch and colour (chroma above {COLOUR:g}), less its mean where branches are permuted. Of a network without "
    "branches the halves of its first hidden axis stand in their place. Kernels of different size are cut to the "
    "smallest before their frequency is measured."
)


def branch_plates(result: BranchExperimentResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *branch_findings(result), *summary(result)]
    tables = {table: result.rows(table) for table in ("branches", "onset", "blocks")}
    drawn = {name: [row for row in rows if row["skipped"] is None] for name, rows in tables.items()}
    if drawn["branches"]:
        plates += [_separation(result), *_kernels(result)]
    if any(result.values(variant.name, "chroma_large") for variant in result.experiment.variants):
        plates.append(_crossed(result))
    if drawn["onset"]:
        plates.append(_onset(result))
    if drawn["blocks"]:
        plates += [_blocks(result), _families(result)]
    plates.append(verdicts_table(result, kept=False))
    if drawn["branches"]:
        plates.append(_branches(result))
    return [*plates, effects_table(result), runs_table(result)]


def _separation(result: BranchExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="separation",
            title=separation_title(result),
            reading=(
                "A row a variant, a dot a seed; the line is the interval over seeds, the grey tick the network it is "
                "compared with, the pale bar what is claimed. Right of 0 branches differ more than chance."
            ),
            method=f"{SEPARATION} {INTERVALS}",
            null="0: what branches give on average if units are dealt to them at random, whatever their sizes.",
        ),
        spec=separation_chart(result).to_dict(),
        rows=tuple(measured(result, SEPARATE)),
    )


def _kernels(result: BranchExperimentResult) -> list[Columns]:
    """First-layer kernels in columns, one a branch, of the first seed that has most variants."""
    runs = [
        done for done in result.finished if done.measurement is not None and "first/chroma" in done.measurement.arrays
    ]
    seeds = [done.seed for done in runs]
    seed = max(dict.fromkeys(seeds), key=seeds.count, default=None)
    groups = tuple(_group(done) for done in runs if done.seed == seed)
    if not groups:
        return []
    apart = [group for group in groups if group.marked]
    return [
        Columns(
            Heading(
                key="kernels",
                title=f"Branches differ in colour (p < .05) in {tally(apart)} of {counted(len(groups), 'network')}",
                reading=(
                    f"First-layer kernels of seed {seed} in the colours they respond to, a column a branch, those of "
                    "most chroma first. Of a network without branches, columns are the halves of its hidden axis."
                ),
                method="Each kernel is scaled by its own largest weight about grey, which is no weight.",
                null="Dealt to branches at random, five networks in a hundred would be named in the title.",
            ),
            groups,
        )
    ]


def _group(done: ExperimentRun) -> ColumnGroup:
    arrays: dict[str, Any] = dict(done.measurement.arrays) if done.measurement is not None else {}
    p_value = done.figure("p_value")
    columns = []
    for branch, name in enumerate(arrays["first/names"].tolist()):
        own = np.flatnonzero(arrays["first/branch"] == branch)
        chroma = arrays["first/chroma"][own]
        side = arrays[f"kernels/{branch}"].shape[1]
        columns.append(
            UnitColumn(
                title=name,
                images=arrays[f"kernels/{branch}"],
                units=own,
                facts=(f"{counted(len(own), 'unit')}, {side}×{side}", f"chroma {np.nanmean(chroma):.2f}"),
                measures={"chroma": chroma, "frequency": arrays["first/frequency"][own]},
                category=branch,
            )
        )
    return ColumnGroup(
        layer=done.variant,
        columns=tuple(columns),
        facts=(f"{done.figure('separation'):+.2f} of chroma between", f"p {p_value:.3f}"),
        marked=isinstance(p_value, float) and p_value < 0.05,
    )


def _crossed(result: BranchExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="crossed",
            title=crossed_title(result),
            reading=(
                "Left, mean chroma of the narrow branch less that of the wide one; right, of the branch of large "
                "kernels less that of small ones. From narrow-small (grey tick) to narrow-large the left figure rises "
                "by twice what large kernels add, the right one by twice what narrowness adds."
            ),
            method=f"A branch of a fourth of the units crossed with 7×7 and 3×3 kernels, and controls. {INTERVALS}",
            null="0: neither width nor kernel size decides. “Equal” has no narrow branch: its first less its second.",
        ),
        spec=signed_chart(result).to_dict(),
        rows=tuple(measured(result, CHROMA)),
    )


def _onset(result: BranchExperimentResult) -> Chart:
    rows = onset_rows(result)
    return Chart(
        Heading(
            key="onset",
            title="When branches begin to differ in colour",
            reading="A panel a variant, a line a seed, from the first weights to the last. 0 is chance.",
            method=(
                "The share of the variance of chroma that lies between branches, less chance, at every checkpoint. The "
                f"table has the information of branch and colour (chroma above {COLOUR:g}) too."
            ),
            null="0, about which the first weights lie: they are noise.",
        ),
        spec=onset_chart(result).to_dict(),
        rows=tuple(rows),
    )


def _blocks(result: BranchExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="blocks",
            title="What the residual block of a unit tells of its kind",
            reading="A row a network, a dot a seed; right of 0 units of one kind gather in some blocks of a stage.",
            method=(
                "Units inside each block are labelled by what they respond to; information of label and block within "
                f"stages, less its mean where blocks are permuted. {INTERVALS}"
            ),
            null=(
                "0. What changes with depth alone counts as information too; that of neighbouring blocks counts "
                "little of it."
            ),
        ),
        spec=blocks_chart(result).to_dict(),
        rows=tuple(measured(result, BLOCKS)),
    )


def _families(result: BranchExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="families",
            title="The kinds of units in every residual block",
            reading="A bar a block, in the order of the network, of the first seed.",
            method="The share of the block's units that respond most to each kind of stimulus.",
        ),
        spec=families_chart(result).to_dict(),
        rows=tuple(family_rows(result)),
    )


def _branches(result: BranchExperimentResult) -> Table:
    rows = tuple(result.rows("branches"))
    hidden = [row for row in rows if row["hidden"]]
    return Table(
        Heading(
            key="branches",
            title=f"{capitalized(number(len(rows) - len(hidden)))} branches of the first layer",
            reading="One row a branch of a run; of a network without branches, a half of its hidden axis.",
            method=SEPARATION,
        ),
        columns=(
            Column("variant", "variant"),
            Column("seed", "seed", "integer"),
            Column("branch", "branch"),
            Column("units", "units", "integer"),
            Column("kernel", "kernel", "integer"),
            Column("colour_units", "colour units", "integer", description=f"of chroma above {COLOUR:g}"),
            Column("chroma", "mean chroma", "number", 3),
            Column("frequency", "mean frequency", "number", 3, description="cycles a pixel"),
        ),
        rows=rows,
    )
