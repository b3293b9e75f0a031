"""`weightatlas atlas`: everything that the sources allow, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from weightatlas.checkpoints import open_checkpoint
from weightatlas.cli.options import (
    BackendOption,
    FeatureMaps,
    Jobs,
    Layout,
    Quiet,
    Seed,
    Source,
    check_page,
    feature_maps,
)
from weightatlas.cli.reporting import for_each_source, progress_bar, report

if TYPE_CHECKING:
    from weightatlas.result import Result

Page = Annotated[Path, Parameter(help="The page to write.")]


def atlas(
    *source: Source,
    output: Page = Path("atlas.html"),
    title: Annotated[str | None, Parameter(help="The page's title; the source's name if left out.")] = None,
    feature_map: FeatureMaps = (),
    layout: Layout = None,
    jobs: Jobs = None,
    backend: BackendOption = "threading",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Draw the atlas of one or more checkpoints: one HTML file that opens from disk.

    Args:
        source: The checkpoints.
    """
    check_page(output)
    maps = feature_maps(feature_map)
    from weightatlas import anatomy, banding, write_atlas  # after the arguments are known to be good: it loads torch

    def survey_one(name: str) -> tuple[Result, ...]:
        checkpoint = open_checkpoint(name, layout=layout)
        for note in checkpoint.notes:
            report(f"{name}: {note}")
        with progress_bar("statistics", quiet=quiet) as progress:
            layers = anatomy.survey(checkpoint, seed=seed, jobs=jobs, backend=backend, progress=progress)
        with progress_bar("banding", quiet=quiet) as progress:
            bands = banding.survey(
                checkpoint, feature_maps=maps, seed=seed, jobs=jobs, backend=backend, progress=progress
            )
        return layers, bands

    surveys, complete = for_each_source(source, survey_one)
    if surveys:
        results = [result for pair in surveys for result in pair]
        written = write_atlas(results, output, title=title, seed_note=f"Seed {seed}.")
        print(written)  # noqa: T201 - the command's answer
    return 0 if complete else 1
