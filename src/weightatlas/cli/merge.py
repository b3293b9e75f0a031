"""`weightatlas merge`: two checkpoints into one, in the format of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.cli.options import FormatOption, Quiet, Seed
from weightatlas.cli.printing import print_rows
from weightatlas.cli.reporting import UsageError, progress_bar, report
from weightatlas.cli.terminal import TerminalColumn

NETWORK: Final = Group.create_ordered("Which network")
MERGED: Final = Group.create_ordered("How it is merged")
PRINTED: Final = Group.create_ordered("What comes out")

Target = Annotated[Path, Parameter(group=PRINTED)]

SHOWN: Final = (
    TerminalColumn("output", "written"),
    TerminalColumn("weight", "weight"),
    TerminalColumn("similarity_before", "similarity"),
    TerminalColumn("similarity", "aligned"),
    TerminalColumn("distance_before", "distance"),
    TerminalColumn("distance", "aligned"),
    TerminalColumn("moved", "moved", form="share"),
    TerminalColumn("recalibrated", "recalibrated"),
)


def merge(
    first: str,
    second: str,
    *,
    output: Target,
    model: Annotated[str | None, Parameter(group=NETWORK)] = None,
    data: Annotated[str | None, Parameter(group=NETWORK)] = None,
    weight: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1), group=MERGED)] = 0.5,
    align: Annotated[bool, Parameter(negative="--no-align", group=MERGED)] = True,
    recalibrate: Annotated[Literal["auto", "batch-norm", "repair", "none"], Parameter(group=MERGED)] = "auto",
    seed: Annotated[Seed, Parameter(group=MERGED)] = 0,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Average two checkpoints of one network, the second's units brought to the first's, in the first one's format.

    Args:
        first: The checkpoint whose format, names and types the result has.
        second: The other one; its format and names may differ.
        output: Where the result is written: a file if the first is one, else a folder.
        model: The network that both are weights of: timm:NAME, torchvision:NAME, weightatlas:NAME,
            package.module:callable, a .pt2 export, or a Hugging Face folder; left out for one of those.
        data: Examples to estimate batch-norm statistics on, of the training data best: cifar10:PATH, a folder of
            images, package.module:callable, ...
        weight: Share of the second network; at 1 it is written aligned and not averaged.
        align: Bring the second one's units to the first one's before.
        recalibrate: What is estimated on the data: batch-norm statistics, where there are any (auto); or REPAIR, mean
            and deviation of every channel, for networks without batch norm.
    """
    if data is None and recalibrate in ("batch-norm", "repair"):
        message = f"--recalibrate {recalibrate} needs --data"
        raise UsageError(message)
    # After the arguments are known to be good: this loads torch.
    from weightatlas.checkpoints import open_checkpoint
    from weightatlas.connectivity.merge import COLUMNS, check_output
    from weightatlas.connectivity.merge import merge as merged
    from weightatlas.evaluation import open_data
    from weightatlas.result import columns_with_source, with_source

    both = open_checkpoint(first), open_checkpoint(second)
    check_output(output, *both)
    shown = None if data is None else open_data(data)
    for note in () if shown is None else shown.notes:
        report(f"{data}: {note}")
    with progress_bar("merge", quiet=quiet) as progress:
        found = merged(
            *both,
            model=model,
            weight=weight,
            align=align,
            recalibrate=None if recalibrate == "none" else recalibrate,
            data=shown,
            seed=seed,
            progress=progress,
        )
    with progress_bar("writing", quiet=quiet) as progress:
        written = found.write(output, progress=progress)
    for note in (*found.notes, *written.notes):
        report(note)
    row = with_source(found.row(output), first)
    print_rows([row], columns_with_source(COLUMNS), format_=format_, output=None, shown=SHOWN)
    return 0
