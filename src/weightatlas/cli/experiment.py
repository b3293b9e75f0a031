"""`weightatlas experiment`: a paper's whole matrix of runs, its table and its atlas."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.cli.options import (
    AT_LEAST_ONE,
    AcceleratorOption,
    FormatOption,
    Nodes,
    Output,
    Quiet,
    check_nodes,
    check_page,
)
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import UsageError, progress_bar, report
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from weightatlas.cli.options import Format
    from weightatlas.lab.experiments import ExperimentResult

WHAT: Final = Group.create_ordered("What is run")
WHERE: Final = Group.create_ordered("Where")
PRINTED: Final = Group.create_ordered("What comes out")


def experiment(
    name: Annotated[str, Parameter(group=WHAT)],
    *,
    preset: Annotated[str | None, Parameter(group=WHAT)] = None,
    data: Annotated[str | None, Parameter(group=WHAT)] = None,
    variants: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative=(), group=WHAT)] = None,
    seeds: Annotated[
        tuple[Annotated[int, Parameter(validator=validators.Number(gte=0))], ...] | None,
        Parameter(consume_multiple=True, negative=(), group=WHAT),
    ] = None,
    steps: Annotated[int | None, Parameter(validator=validators.Number(gte=2), group=WHAT)] = None,
    batch_size: Annotated[int | None, Parameter(validator=validators.Number(gte=2), group=WHAT)] = None,
    limit: Annotated[int | None, Parameter(validator=AT_LEAST_ONE, group=WHAT)] = None,
    folder: Annotated[Path | None, Parameter(group=WHERE)] = None,
    jobs: Annotated[int | None, Parameter(validator=AT_LEAST_ONE, group=WHERE)] = None,
    backend: Annotated[Literal["loky", "dask", "ray"], Parameter(group=WHERE)] = "loky",
    accelerator: Annotated[AcceleratorOption, Parameter(group=WHERE)] = "auto",
    devices: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=WHERE)] = 1,
    nodes: Annotated[Nodes, Parameter(group=WHERE)] = 1,
    table: Annotated[str, Parameter(group=PRINTED)] = "runs",
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    atlas: Annotated[Path | None, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Train every variant of a paper's experiment with every seed, compare them, write the table and the atlas.

    Each run is kept, so that an experiment that was stopped goes on where it was. A run that fails is a row that says
    why, and the rest is done.

    Args:
        name: The experiment: weight-banding, weight-change, branch-specialization, micro-batch, mode-connectivity or
            degeneracy.
        preset: Its scale: quick (built-in data, minutes on two cores; taken if left out), cifar10-small (two cores),
            cifar10 of weight-banding, branch-specialization, micro-batch and mode-connectivity and cifar of
            weight-change (one GPU), or paper (GPUs). Of micro-batch there is no paper but imagenet, coco, voc and
            something (GPUs), and what learning rates are chosen from: quick-rates, cifar10-small-rates, cifar10-rates.
            Of mode-connectivity there is no paper. Of degeneracy there are quick, modular-addition and images (two
            cores), and published (one GPU).
        data: What to train on, where the preset does not bring its own. For weight-banding, branch-specialization,
            micro-batch and mode-connectivity cifar10:PATH or a folder of images. For images of degeneracy cifar10:PATH.
            For weight-change cifar10:PATH,cifar100:PATH, with svhn:PATH for its paper preset, or a folder that holds
            cifar10, cifar100 and svhn.
        variants: Run these only, and what they are compared with; several names may follow.
        seeds: Instead of the preset's; several numbers may follow.
        steps: Updates of every run, instead of the preset's number: a dry run.
        batch_size: Examples an update sees, over all processes together, instead of the preset's.
        limit: Train and score on the first so many examples of each split: for a dry run.
        folder: Where the runs are kept; experiments/NAME-PRESET if left out. What was stopped here goes on.
        jobs: Runs at once, each in a process of its own; if left out as many as there are cores for, and one on a GPU.
        backend: What runs them: processes (loky), Dask or Ray.
        devices: Processes that train one network together, one a GPU; runs then go one after another.
        table: Which rows to print: runs, variants or effects; of weight-banding also profiles, of weight-change also
            accuracies, layers or thirds; of branch-specialization also branches, onset, twins, recurrence or blocks; of
            micro-batch also methods, course or published; of mode-connectivity also widths, forks, paths or layers; of
            degeneracy also layers, edges, course, curve or ranks.
        atlas: The page to write; atlas.html in the folder if left out.
    """
    check_output(output, format_, sources=1, pictures=True)
    check_page(atlas)
    check_nodes(nodes)
    from weightatlas.atlas import write_atlas  # after the arguments are known to be good: it loads torch
    from weightatlas.lab import Devices, run
    from weightatlas.lab.devices import is_first_process
    from weightatlas.lab.experiments import open_experiment, run_experiment

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
    if table not in chosen.result.tables:
        message = f"{name} has no table {table[:80]!r}; there is {', '.join(chosen.result.tables)}"
        raise UsageError(message)
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
    _print(result, table, format_, output)
    page = atlas or place / "atlas.html"
    if result.finished:
        report(f"the atlas is {write_atlas([result], page, title=chosen.title or None)}")
    return 0 if len(result.finished) == len(result.runs) else 1


def _print(result: ExperimentResult, table: str, format_: Format | None, output: Path | None) -> None:
    """The rows of a table, and a line for each run that failed."""
    shown = [TerminalColumn(key, label) for key, label in result.terminal.get(table, ())] or None
    print_results([result], table, format_=format_, output=output, shown=shown)
    for failed in (done for done in result.runs if done.skipped is not None):
        report(f"{failed.variant}, seed {failed.seed}: {failed.skipped}")
