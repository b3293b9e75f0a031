"""`weightatlas train`: one run, kept in a folder and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.cli.options import (
    AT_LEAST_ONE,
    AcceleratorOption,
    FormatOption,
    Nodes,
    Output,
    Quiet,
    Seed,
    check_nodes,
)
from weightatlas.cli.printing import check_output, print_rows
from weightatlas.cli.reporting import UsageError, progress_bar, report
from weightatlas.cli.terminal import TerminalColumn
from weightatlas.data import Augmentation
from weightatlas.errors import WeightatlasError
from weightatlas.lab.configuration import Configuration, Keep, Recipe
from weightatlas.lab.devices import Devices, is_first_process, process
from weightatlas.lab.forking import Fork
from weightatlas.lab.running import row_of, run

COLUMNS: Final = (
    "model",
    "data",
    "interventions",
    "seed",
    "steps",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "test_top5",
    "parameters",
    "minutes",
    "folder",
    "checkpoint",
    "reused",
    "skipped",
)
SHOWN: Final = (
    TerminalColumn("model", "model"),
    TerminalColumn("interventions", "changed"),
    TerminalColumn("seed", "seed"),
    TerminalColumn("steps", "steps"),
    TerminalColumn("train_accuracy", "train acc."),
    TerminalColumn("test_accuracy", "test acc."),
    TerminalColumn("test_top5", "top 5"),
    TerminalColumn("parameters", "parameters"),
    TerminalColumn("minutes", "minutes"),
    TerminalColumn("checkpoint", "weights"),
)


STEPS: Final = 400
"""Updates of a run whose length nothing says."""

NOT_NEGATIVE: Final = Parameter(validator=validators.Number(gte=0))
WHAT: Final = Group.create_ordered("What is trained")
RECIPE: Final = Group.create_ordered("How it is trained")
AUGMENTATION: Final = Group.create_ordered("What is done to images")
KEPT: Final = Group.create_ordered("What is kept")
WHERE: Final = Group.create_ordered("Where")
PRINTED: Final = Group.create_ordered("What comes out")


def train(
    *,
    model: Annotated[str, Parameter(group=WHAT)],
    data: Annotated[str, Parameter(group=WHAT)],
    head: Annotated[str | None, Parameter(group=WHAT)] = None,
    intervention: Annotated[tuple[str, ...], Parameter(negative=(), group=WHAT)] = (),
    held_out: Annotated[str | None, Parameter(group=WHAT)] = None,
    seed: Annotated[Seed, Parameter(group=WHAT)] = 0,
    fork: Annotated[Annotated[int, NOT_NEGATIVE] | Literal["weights"] | None, Parameter(group=WHAT)] = None,
    fork_seed: Annotated[int, NOT_NEGATIVE, Parameter(group=WHAT)] = 1,
    stop: Annotated[str | None, Parameter(group=WHAT)] = None,
    stop_every: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=WHAT)] = 100,
    stop_held: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=WHAT)] = 1,
    config: Annotated[Path | None, Parameter(group=WHAT)] = None,  # noqa: ARG001 - `config_file` fills the others from it
    recipe: Annotated[
        Recipe | None, Parameter(name="*", group=RECIPE, consume_multiple=True, negative_iterable=())
    ] = None,
    augmentation: Annotated[Augmentation | None, Parameter(name="*", group=AUGMENTATION, negative_iterable=())] = None,
    folder: Annotated[Path, Parameter(group=KEPT)] = Path("run"),
    keep: Annotated[Keep, Parameter(group=KEPT)] = "last",
    every: Annotated[int | None, Parameter(validator=AT_LEAST_ONE, group=KEPT)] = None,
    save_every: Annotated[int | None, Parameter(validator=AT_LEAST_ONE, group=KEPT)] = None,
    accelerator: Annotated[AcceleratorOption, Parameter(group=WHERE)] = "auto",
    devices: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=WHERE)] = 1,
    nodes: Annotated[Nodes, Parameter(group=WHERE)] = 1,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Train one network, changed or not, and keep the run: checkpoints, metrics, manifest.

    Args:
        model: A network: timm:NAME, torchvision:NAME, weightatlas:NAME or package.module:callable; options follow a
            question mark.
        data: What to train on: scenes, cifar10:PATH, cifar100:PATH, svhn:PATH, a folder of images, Parquet, an .npz or
            package.module:callable; options follow a question mark.
        head: What stands between the last map and the classifier: gap, no-pooling, x-pooling, attention, masks-3, ...
        intervention: A further change of the network, such as coordconv; may be given several times.
        held_out: Data to score on; the test or validation split of --data if left out.
        fork: After so many updates, leave the run of the same seed that is not forked: the order of the data, their
            augmentation and what updates draw are others from there on. With weights the first weights are too.
        fork_seed: Tells forks of one seed from each other.
        stop: End before the last update once this holds of what is held out: test_accuracy>0.999, test_loss<0.1 or
            test_top5>0.99.
        stop_every: Updates between two looks at that.
        stop_held: Looks in a row that must find it so.
        config: A TOML file with any of these options, the next two groups in tables [recipe] and
            [augmentation]; flags win.
        folder: Where the run is kept; a run that was stopped here goes on.
        keep: Which checkpoints stay: the last, one after each of the epochs, or steps 0, 1, 2, 4, 8, ... (log).
        every: Also keep a checkpoint every so many steps.
        save_every: Steps between two states that a stopped run can go on from; a twentieth of the run if left out.
        devices: Processes that train together (DDP), one a GPU.
    """
    check_output(output, format_, sources=1, pictures=False)
    check_nodes(nodes)
    try:
        configuration = Configuration(
            model=model,
            data=data,
            interventions=(*(() if head is None else (head,)), *intervention),
            held_out=held_out,
            recipe=with_length(recipe or Recipe()),
            augmentation=augmentation or Augmentation(),
            keep=keep,
            every=every,
            save_every=save_every,
            seed=seed,
            fork=None if fork is None else Fork(None if fork == "weights" else fork, fork_seed),
            stop=stop,
            stop_every=stop_every,
            stop_held=stop_held,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error

    try:
        with progress_bar("training", quiet=quiet) as progress:
            done = run(
                configuration,
                folder,
                devices=Devices(accelerator=accelerator, devices=devices, nodes=nodes),
                progress=progress,
            )
    except WeightatlasError as error:
        report(error if is_first_process() else f"process {process()}: {error}")
        return 1
    if is_first_process():
        print_rows([row_of(done)], COLUMNS, format_=format_, output=output, shown=SHOWN)
    return 0


def with_length(recipe: Recipe) -> Recipe:
    """Give a recipe that says nothing of its length 400 updates."""
    return replace(recipe, steps=STEPS) if recipe.steps is None and recipe.epochs is None else recipe
