"""`weightatlas connect`: align networks of one shape, and measure what lies on the straight lines between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.cli.options import AT_LEAST_ONE, FormatOption, Layout, Output, Quiet, Seed, Source
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import UsageError, progress_bar, report
from weightatlas.cli.sources import last_opened
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints import Checkpoint
    from weightatlas.connectivity import Connection

TableName = Literal["path", "layers", "groups", "barriers"]

NETWORK: Final = Group.create_ordered("Which networks")
MEASURED: Final = Group.create_ordered("What is measured")
PRINTED: Final = Group.create_ordered("What comes out")

WHOLE: Final = (".html", ".npz")
"""Outputs that hold all that can be measured."""

SHOWN: Final[Mapping[TableName, tuple[TerminalColumn, ...]]] = {
    "path": (
        TerminalColumn("pair", "pair"),
        TerminalColumn("aligned", "aligned"),
        TerminalColumn("recalibrated", "statistics anew"),
        TerminalColumn("alpha", "alpha"),
        TerminalColumn("loss", "loss"),
        TerminalColumn("error", "error", form="share"),
        TerminalColumn("loss_above", "above the chord", form="signed"),
    ),
    "layers": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("pair", "pair"),
        TerminalColumn("barrier", "barrier", form="signed"),
        TerminalColumn("low", "95 % from", form="signed"),
        TerminalColumn("high", "to", form="signed"),
        TerminalColumn("random", "at random", form="signed"),
        TerminalColumn("q_value", "q", form="tiny"),
        TerminalColumn("predicted", "predicted", form="signed"),
        TerminalColumn("from_input", "from the input", form="signed"),
        TerminalColumn("from_output", "from the output", form="signed"),
    ),
    "groups": (
        TerminalColumn("group", "group"),
        TerminalColumn("size", "units"),
        TerminalColumn("moved", "moved", form="share"),
        TerminalColumn("axes", "axes"),
        TerminalColumn("pinned", "stays because"),
    ),
    "barriers": (
        TerminalColumn("pair", "pair"),
        TerminalColumn("aligned", "aligned"),
        TerminalColumn("recalibrated", "statistics anew"),
        TerminalColumn("loss_barrier", "loss barrier", form="signed"),
        TerminalColumn("loss_barrier_low", "95 % from", form="signed"),
        TerminalColumn("loss_barrier_high", "to", form="signed"),
        TerminalColumn("loss_barrier_alpha", "at"),
        TerminalColumn("error_barrier", "error barrier", form="signed"),
        TerminalColumn("similarity", "cosine"),
        TerminalColumn("distance", "distance"),
    ),
}
"""What a table in the terminal shows; JSON and CSV have every field."""


def connect(
    *source: Source,
    model: Annotated[str | None, Parameter(group=NETWORK)] = None,
    data: Annotated[str | None, Parameter(group=NETWORK)] = None,
    train_data: Annotated[str | None, Parameter(group=NETWORK)] = None,
    layout: Annotated[Layout, Parameter(group=NETWORK)] = None,
    align: Annotated[bool, Parameter(group=MEASURED)] = True,
    restarts: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 3,
    nulls: Annotated[int, Parameter(validator=validators.Number(gte=0), group=MEASURED)] = 0,
    recalibrate: Annotated[Literal["auto", "batch-norm", "repair", "no"], Parameter(group=MEASURED)] = "auto",
    recalibration_batches: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 5,
    points: Annotated[int, Parameter(validator=validators.Number(gte=3), group=MEASURED)] = 11,
    examples: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 1000,
    lines_only: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    layer_examples: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 256,
    curvature: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    seed: Annotated[Seed, Parameter(group=MEASURED)] = 0,
    table: Annotated[TableName | None, Parameter(group=PRINTED)] = None,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Align networks of one shape, and measure the barrier on the straight lines between them.

    Args:
        source: The networks, two or more: the first is joined to each of the others. A run counts with its last
            checkpoint.
        model: The network that the weights belong to: timm:NAME, torchvision:NAME, weightatlas:NAME,
            package.module:callable, a .pt2 export, or left out for a Hugging Face folder.
        data: What losses are measured on, held-out data best: scenes, cifar10:PATH, cifar100:PATH, svhn:PATH, a folder
            of images, Parquet, .npz, or package.module:callable. Without it, alignment only.
        train_data: What statistics of norms are estimated on; the data themselves if left out.
        align: Bring the units of the others to those of the first.
        restarts: Matchings from different orders; the best is kept.
        nulls: Matchings of networks whose weights are shuffled: how alike chance makes two networks.
        recalibrate: Estimate the statistics of batch norms anew at every point (auto, where there are any), set those
            of every layer's outputs as REPAIR does, or neither.
        recalibration_batches: Batches for that, at every point.
        points: Points of a line, both ends counted.
        examples: How many the losses along a line are means over.
        lines_only: Leave layers and the plane of three networks out of a page or arrays; they take most
            of the time.
        layer_examples: How many the losses of single layers are means over.
        curvature: Measure curvature along the line too: that which second derivatives see, and that in kinks.
        table: Which rows to print. If left out: path; to read, barriers, and groups without data.
    """
    check_output(output, format_, sources=1, pictures=True)
    if len(source) < 2:
        message = "connect takes two networks or more"
        raise UsageError(message)
    # After the arguments are known to be good: this loads torch.
    from weightatlas.connectivity import survey
    from weightatlas.evaluation import open_data

    shown, calibrating = (None if name is None else open_data(name) for name in (data, train_data))
    for one in (shown, calibrating):
        for note in () if one is None else one.notes:
            report(f"{one.name}: {note}" if one is not None else note)
    # Rows have no use for the rest, except those of layers.
    deep = not lines_only and output is not None and output.suffix.lower() in WHOLE
    options: dict[str, Any] = {
        "align": align,
        "restarts": restarts,
        "nulls": nulls,
        "recalibrate": None if recalibrate == "no" else recalibrate,
        "recalibration_data": calibrating,
        "recalibration_batches": recalibration_batches,
        "points": points,
        "examples": examples,
        "layers": deep or table == "layers",
        "grid": deep,
        "layer_examples": layer_examples,
        "curvature": curvature,
        "seed": seed,
    }
    with progress_bar("connectivity", quiet=quiet) as progress:
        networks = [_last(name, layout) for name in source]
        found = survey(*networks, model=model, data=shown, **options, progress=progress)
    for note in found.notes:
        report(f"{found.source}: {note}")
    _print(found, table, format_, output)
    failed = [pair for pair in found.pairs if pair.unjoined]
    for pair in failed:
        report(pair.skipped["pair"])
    return 1 if failed else 0


def _last(name: str, layout: Layout) -> Checkpoint | str:
    """A checkpoint; the last one of a run. What cannot be opened is left to the survey, which says so."""
    from weightatlas.errors import SourceError

    try:
        return last_opened(name, layout)
    except SourceError:
        return name


def _print(found: Connection, table: TableName | None, format_: str | None, output: Any) -> None:  # noqa: ANN401
    """The rows; for whom reads a table, a row a line, and what was found."""
    from weightatlas.connectivity.findings import connection_findings

    is_read = format_ == "table" or (format_ is None and output is None)
    chosen: TableName = table or (("groups" if found.data is None else "barriers") if is_read else "path")
    print_results([found], chosen, format_=format_, output=output, shown=SHOWN[chosen])  # type: ignore[arg-type]
    if is_read:
        for finding in connection_findings(found):
            evidence = f" ({'; '.join(finding.evidence)})" if finding.evidence else ""
            report(f"{finding.statement}{evidence}")
