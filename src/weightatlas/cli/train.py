"""`weightatlas train`: one run, kept in a folder and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter, validators

from weightatlas.cli.options import FormatOption, Output, Quiet, Seed
from weightatlas.cli.printing import check_output, print_rows
from weightatlas.cli.reporting import UsageError, progress_bar, report
from weightatlas.cli.terminal import TerminalColumn
from weightatlas.data import Augmentation
from weightatlas.errors import WeightatlasError
from weightatlas.lab.configuration import Configuration, Keep, Recipe
from weightatlas.lab.devices import Accelerator, Devices, is_first_process, process
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


def train(
    *,
    model: str,
    data: str,
    head: str | None = None,
    intervention: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    held_out: str | None = None,
    folder: Annotated[Path, Parameter(help="Where the run is kept; a run that was killed here goes on.")] = Path("run"),
    recipe: Annotated[Recipe | None, Parameter(name="*")] = None,
    augmentation: Annotated[Augmentation | None, Parameter(name="*")] = None,
    keep: Keep = "last",
    every: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    save_every: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    accelerator: Accelerator = "auto",
    devices: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    nodes: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    config: Path | None = None,  # noqa: ARG001 - `config_file` fills the others from it
    format_: FormatOption = None,
    output: Output = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Train one network, changed or not, and keep the run: checkpoints, metrics, manifest.

    Args:
        model: timm:NAME, torchvision:NAME, weightatlas:NAME or package.module:callable, options after a question mark.
        data: scenes, cifar10:PATH, cifar100:PATH, svhn:PATH, a folder of images, Parquet, an .npz.
        head: What stands between the last map and the classifier: gap, no-pooling, x-pooling, attention, masks-3, ...
        intervention: A further change of the network, such as coordconv; may be given several times.
        held_out: Data to score on; the test split of --data if left out.
        keep: Which checkpoints stay: the last, one after each of the epochs, or steps 0, 1, 2, 4, 8, ... (log).
        every: Also keep one every so many steps.
        save_every: Steps between two states that a killed run can go on from.
        accelerator: Where to compute.
        devices: Processes that train together (DDP), one a GPU.
        nodes: Machines; start the command on each with torchrun.
        config: A TOML file with any of these options; flags win.
    """
    check_output(output, format_, sources=1, pictures=False)
    try:
        configuration = Configuration(
            model=model,
            data=data,
            interventions=(*(() if head is None else (head,)), *intervention),
            held_out=held_out,
            recipe=recipe or Recipe(steps=400),
            augmentation=augmentation or Augmentation(),
            keep=keep,
            every=every,
            save_every=save_every,
            seed=seed,
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
