"""`weightatlas atlas`: everything that the sources allow, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from weightatlas.checkpoints import Trajectory
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
from weightatlas.cli.reporting import UsageError, for_each_source, progress_bar, report
from weightatlas.cli.sources import opened

if TYPE_CHECKING:
    from weightatlas.change import Changes
    from weightatlas.checkpoints import Checkpoint
    from weightatlas.evaluation import Data
    from weightatlas.result import Result

SHUFFLES = 99
"""Of each matrix between two layers, for the null of hidden branches: a page is wanted soon."""

Page = Annotated[Path, Parameter(help="The page to write.")]


def atlas(
    *source: Source,
    output: Page = Path("atlas.html"),
    title: Annotated[str | None, Parameter(help="The page's title; the source's name if left out.")] = None,
    model: Annotated[
        str | None,
        Parameter(help="The network that the weights belong to: its graph tells branches that shapes do not."),
    ] = None,
    data: Annotated[
        str | None,
        Parameter(help="What the network is run on: with --model, its conditioning is measured too."),
    ] = None,
    feature_map: FeatureMaps = (),
    layout: Layout = None,
    jobs: Jobs = None,
    backend: BackendOption = "threading",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Draw the atlas of one or more checkpoints or runs: one HTML file that opens from disk.

    Args:
        source: The checkpoints; of a run, its weight change and its last checkpoint are drawn.
    """
    check_page(output)
    maps = feature_maps(feature_map)
    if data is not None and model is None:
        message = "--data is what the network is run on: name it with --model"
        raise UsageError(message)
    # After the arguments are known to be good: this loads torch.
    from weightatlas import anatomy, banding, branching, write_atlas

    shown = None if data is None else _opened_data(data)

    def survey_one(name: str) -> tuple[Result, ...]:
        weights = opened(name, layout)
        run = weights if isinstance(weights, Trajectory) else None
        checkpoint = weights[-1][1] if isinstance(weights, Trajectory) else weights
        for note in (*(run.notes if run is not None else ()), *checkpoint.notes):
            report(f"{name}: {note}")
        conditions = conditioned(name, weights)
        changes = () if run is None else (changes_of(run),)
        with progress_bar("statistics", quiet=quiet) as progress:
            layers = anatomy.survey(checkpoint, seed=seed, jobs=jobs, backend=backend, progress=progress)
        with progress_bar("banding", quiet=quiet) as progress:
            bands = banding.survey(
                checkpoint, feature_maps=maps, seed=seed, jobs=jobs, backend=backend, progress=progress
            )
        with progress_bar("branching", quiet=quiet) as progress:
            branches = branching.survey(
                weights, model=model, shuffles=SHUFFLES, seed=seed, jobs=jobs, backend=backend, progress=progress
            )
        for note in branches.notes:
            report(f"{name}: {note}")
        return *changes, *conditions, layers, bands, branches

    def changes_of(run: Trajectory) -> Changes:
        from weightatlas.change import Analysis, survey

        with progress_bar("weight change", quiet=quiet) as progress:
            return survey(run, analysis=Analysis(seed=seed), jobs=jobs, backend=backend, progress=progress)

    def conditioned(name: str, weights: Checkpoint | Trajectory) -> tuple[Result, ...]:
        if shown is None:
            return ()
        from weightatlas import conditioning

        with progress_bar("conditioning", quiet=quiet) as progress:
            found = conditioning.survey(weights, model=model, data=shown, seed=seed, progress=progress)
        for note in found.notes:
            report(f"{name}: {note}")
        return (found,)

    surveys, complete = for_each_source(source, survey_one)
    if surveys:
        results = [result for pair in surveys for result in pair]
        written = write_atlas(results, output, title=title, seed_note=f"Seed {seed}.")
        print(written)  # noqa: T201 - the command's answer
    return 0 if complete else 1


def _opened_data(name: str) -> Data:
    """Data by name; what was assumed of them is said."""
    from weightatlas.evaluation import open_data

    shown = open_data(name)
    for note in shown.notes:
        report(f"{name}: {note}")
    return shown
