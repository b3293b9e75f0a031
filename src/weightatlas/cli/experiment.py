"""`weightatlas experiment`: a paper's whole matrix of runs, its table and its atlas."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter, validators

from weightatlas.atlas import write_atlas
from weightatlas.cli.options import FormatOption, Jobs, Output, Quiet
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import progress_bar, report
from weightatlas.cli.terminal import TerminalColumn
from weightatlas.lab import Devices, run
from weightatlas.lab.devices import Accelerator, is_first_process
from weightatlas.lab.experiments import open_experiment, run_experiment

SHOWN: Final = {
    "runs": (
        TerminalColumn("variant", "variant"),
        TerminalColumn("seed", "seed"),
        TerminalColumn("train_accuracy", "train acc."),
        TerminalColumn("test_accuracy", "test acc."),
        TerminalColumn("parameters", "parameters"),
        TerminalColumn("minutes", "minutes"),
        TerminalColumn("penultimate_score", "B, last but one"),
        TerminalColumn("penultimate_direction", "bands"),
        TerminalColumn("last_score", "B, last"),
        TerminalColumn("last_direction", "bands"),
    ),
    "variants": (
        TerminalColumn("variant", "variant"),
        TerminalColumn("seeds", "seeds"),
        TerminalColumn("train_accuracy", "train acc."),
        TerminalColumn("test_accuracy", "test acc."),
        TerminalColumn("parameters", "parameters"),
        TerminalColumn("minutes", "minutes"),
        TerminalColumn("penultimate_score", "B, last but one"),
        TerminalColumn("last_score", "B, last"),
    ),
    "effects": (
        TerminalColumn("variant", "variant"),
        TerminalColumn("measure", "measure"),
        TerminalColumn("baseline", "baseline"),
        TerminalColumn("value", "variant's"),
        TerminalColumn("effect", "effect"),
        TerminalColumn("low", "95 % from"),
        TerminalColumn("high", "to"),
        TerminalColumn("verdict", "verdict"),
        TerminalColumn("article", "the article"),
    ),
}
"""What a table in the terminal shows; JSON and CSV have every field."""


def experiment(
    name: str,
    *,
    preset: str | None = None,
    data: str | None = None,
    folder: Path | None = None,
    variants: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative=())] = None,
    seeds: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=True, negative=())] = None,
    steps: Annotated[int | None, Parameter(validator=validators.Number(gte=2))] = None,
    batch_size: Annotated[int | None, Parameter(validator=validators.Number(gte=2))] = None,
    limit: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    table: Literal["runs", "variants", "effects", "profiles"] = "runs",
    atlas: Path | None = None,
    accelerator: Accelerator = "auto",
    devices: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    nodes: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    format_: FormatOption = None,
    output: Output = None,
    jobs: Jobs = None,
    backend: Literal["loky", "dask", "ray"] = "loky",
    quiet: Quiet = False,
) -> int:
    """Train every variant of a paper's experiment with every seed, compare them, write the table and the atlas.

    Each run is kept, so that an experiment that was stopped goes on where it was. A run that fails is a row that says
    why, and the rest is done.

    Args:
        name: The experiment: weight-banding.
        preset: Its scale: quick (scenes, minutes on two cores), cifar10-small, cifar10 (one GPU), paper (ImageNet).
        data: What to train on, where the preset does not bring its own.
        folder: Where the runs are kept; experiments/NAME-PRESET if left out.
        variants: Run these only, and what they are compared with.
        seeds: Instead of the preset's.
        steps: Make so many updates in every run: a dry run.
        batch_size: Examples an update sees, over all processes together, instead of the preset's.
        limit: Train and score on the first so many examples of each split: for a dry run.
        table: Which rows to print.
        atlas: The page to write; atlas.html in the folder if left out.
        accelerator: Where to compute.
        devices: Processes that train one network together, one a GPU; runs then go one after another.
        nodes: Machines.
        jobs: Runs at once, each in a process of its own; as many as there are cores for if left out, one on a GPU.
        backend: What runs them: processes, Dask or Ray.
    """
    check_output(output, format_, sources=1, pictures=True)
    chosen = open_experiment(
        name,
        preset=preset,
        data=data,
        seeds=seeds,
        variants=variants,
        steps=steps,
        batch_size=batch_size,
        limit=limit,
    )
    place = folder or Path("experiments") / f"{chosen.name}-{chosen.preset}"
    together = devices * nodes > 1
    with progress_bar("training", quiet=quiet or not is_first_process()) as progress:
        result = run_experiment(
            chosen,
            place,
            jobs=1 if together else jobs,
            backend=backend,
            runner=partial(run, devices=Devices(accelerator=accelerator, devices=devices, nodes=nodes)),
            progress=progress,
        )
    if not is_first_process():
        return 0
    print_results([result], table, format_=format_, output=output, shown=SHOWN.get(table))
    for failed in (done for done in result.runs if done.skipped is not None):
        report(f"{failed.variant}, seed {failed.seed}: {failed.skipped}")
    page = atlas or place / "atlas.html"
    if result.finished:
        report(f"the atlas is {write_atlas([result], page, title=chosen.title or None)}")
    return 0 if len(result.finished) == len(result.runs) else 1
