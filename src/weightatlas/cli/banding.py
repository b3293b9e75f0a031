"""`weightatlas banding`: which layers are banded, in which direction, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli.options import BackendOption, FormatOption, Jobs, Layout, Output, Quiet, Seed, Source
from weightatlas.cli.printing import print_results
from weightatlas.cli.reporting import UsageError, for_each_source, progress_bar, report
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
    feature_map: Annotated[
        tuple[str, ...],
        Parameter(
            help="A fully connected layer that reads a flattened map, with the map's channels, height and width: "
            "classifier.1=256x6x6. May be given several times.",
            negative=(),
        ),
    ] = (),
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
        source: the checkpoints.
        table: which rows to print.
        average: take the score's ratio over a unit's kernels together, or over every kernel.
        slides: factor every unit into its slide, too; most of the time goes there.
    """
    maps = dict(_feature_map(text) for text in feature_map)

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
    print_results(surveys, table, format_=format_, output=output, shown=SHOWN.get(table))
    return 0 if complete else 1


def _feature_map(text: str) -> tuple[str, tuple[int, int, int]]:
    """Read `layer=256x6x6`."""
    layer, _, sizes = text.rpartition("=")
    parts = sizes.split("x")
    if not layer or len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        message = f"--feature-map takes layer=CxHxW, as in classifier.1=256x6x6, not {text!r}"
        raise UsageError(message)
    channels, height, width = map(int, parts)
    return layer, (channels, height, width)
