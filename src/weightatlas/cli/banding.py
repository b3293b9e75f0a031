"""`weightatlas banding`: which layers are banded, in which direction, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli.options import (
    BackendOption,
    FeatureMaps,
    FormatOption,
    Jobs,
    Layout,
    Output,
    Quiet,
    Seed,
    Source,
    feature_maps,
)
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import for_each_source, progress_bar, report
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from weightatlas.banding.survey import BandingSurvey

SHOWN = {
    "layers": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("shape", "kernels"),
        TerminalColumn("score", "B"),
        TerminalColumn("null_std", "null s.d."),
        TerminalColumn("p_value", "p"),
        TerminalColumn("q_value", "q"),
        TerminalColumn("direction", "direction"),
        TerminalColumn("banded", "banded"),
        TerminalColumn("slide_score", "slides B"),
        TerminalColumn("banded_units", "banded units"),
        TerminalColumn("banded_units_null", "at random"),
        TerminalColumn("units", "units"),
    )
}
"""What a table in the terminal shows; JSON and CSV have every field."""


def banding(
    *source: Source,
    table: Literal["layers", "units", "symmetries", "types", "profiles"] = "layers",
    average: Literal["unit", "kernel"] = "unit",
    slides: bool = True,
    feature_map: FeatureMaps = (),
    layout: Layout = None,
    format_: FormatOption = None,
    output: Output = None,
    jobs: Jobs = None,
    backend: BackendOption = "threading",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Score the banding of every layer, test it, and reduce every unit to a tissue slide.

    Args:
        source: The checkpoints.
        table: Which rows to print.
        average: Take the score's ratio over a unit's kernels together, or over every kernel.
        slides: Factor every unit into its slide, too; most of the time goes there.
    """
    check_output(output, format_, sources=len(source), pictures=True)
    maps = feature_maps(feature_map)

    def survey_one(name: str) -> BandingSurvey:
        from weightatlas.banding import survey  # after the arguments are known to be good: it loads torch

        checkpoint = open_checkpoint(name, layout=layout)
        for note in checkpoint.notes:
            report(f"{name}: {note}")
        with progress_bar("banding", quiet=quiet) as progress:
            return survey(
                checkpoint,
                average=average,
                with_slides=slides,
                feature_maps=maps,
                seed=seed,
                jobs=jobs,
                backend=backend,
                progress=progress,
            )

    surveys, complete = for_each_source(source, survey_one)
    if surveys or output is None:
        print_results(surveys, table, format_=format_, output=output, shown=SHOWN.get(table))
    return 0 if complete else 1
