"""`weightatlas change`: which layers still learn, which have stopped, which move alike."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.checkpoints import open_checkpoint, open_trajectory
from weightatlas.cli.options import (
    AT_LEAST_ONE,
    BackendOption,
    FormatOption,
    Jobs,
    Layout,
    Output,
    Quiet,
    Seed,
)
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import UsageError, progress_bar, report
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from weightatlas.change import Analysis, Changes
    from weightatlas.cli.options import Format

TableName = Literal["steps", "layers", "clusters"]
Choice = Literal["elbow", "silhouette", "bic"]
Scaling = Literal["none", "log", "relative", "robust", "log-robust"]
Outliers = Literal["mean", "name", "keep"]
Method = Literal["kmeans", "hierarchical", "mixture"]
"""The options of the clustering, as `Pipeline` has them: the help must not load what measures."""

Sources = Annotated[
    str,
    Parameter(
        name="source",
        required=True,
        help="A run: a folder of checkpoints, a URL of one, hf://org/repo with its branches, or the file that a "
        "Recorder wrote. Or two checkpoints of any formats, the earlier first.",
    ),
]

SHOWN: Final = {
    "steps": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("role", "role"),
        TerminalColumn("since", "from"),
        TerminalColumn("step", "to"),
        TerminalColumn("ratio_l1", "ratio L1"),
        TerminalColumn("ratio_l2", "ratio L2"),
        TerminalColumn("elementwise", "elementwise"),
        TerminalColumn("median", "median"),
        TerminalColumn("cosine", "cosine"),
        TerminalColumn("from_start", "from start"),
        TerminalColumn("zeros", "zeros"),
    ),
    "layers": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("role", "role"),
        TerminalColumn("parameters", "parameters"),
        TerminalColumn("ratio_l1_first", "first"),
        TerminalColumn("ratio_l1_median", "median"),
        TerminalColumn("ratio_l1_last", "last"),
        TerminalColumn("from_start_last", "from start"),
        TerminalColumn("cluster", "cluster"),
        TerminalColumn("stopped_at", "stopped at"),
        TerminalColumn("outlier", "outlier"),
    ),
    "clusters": (
        TerminalColumn("cluster", "cluster"),
        TerminalColumn("group", "group"),
        TerminalColumn("size", "layers"),
        TerminalColumn("ratio_l1_median", "median"),
        TerminalColumn("ratio_l1_first", "first"),
        TerminalColumn("ratio_l1_last", "last"),
        TerminalColumn("silhouette", "silhouette"),
        TerminalColumn("stability", "stability"),
        TerminalColumn("stable", "stable"),
    ),
}
"""What a table in the terminal shows; JSON and CSV have every field."""

MEASURED: Final = Group.create_ordered("What is measured")
TRENDS: Final = Group.create_ordered("Which layers move alike, which have stopped")
WORK: Final = Group.create_ordered("How it is done")
PRINTED: Final = Group.create_ordered("What comes out")

PAIR: Final = 2
ONLY_RUNS: Final = {"since", "step", "cosine", "from_start"}
"""What says nothing of two checkpoints."""
LINE: Final = 1 << 24
"""Bytes in which the first line of a record ends; it names every tensor."""


def change(
    *source: Sources,
    tensors: Annotated[Literal["weights", "all"], Parameter(group=MEASURED)] = "weights",
    zero: Annotated[Literal["skip", "inf", "eps"], Parameter(group=MEASURED)] = "skip",
    median: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    pattern: Annotated[str | None, Parameter(group=MEASURED)] = None,
    layout: Annotated[Layout, Parameter(group=MEASURED)] = None,
    figure: Annotated[Literal["ratio_l1", "elementwise", "ratio_l2"], Parameter(group=TRENDS)] = "ratio_l1",
    published: Annotated[bool, Parameter(negative=(), group=TRENDS)] = False,
    clusters: Annotated[int | Choice | None, Parameter(group=TRENDS)] = None,
    by_role: Annotated[bool, Parameter(negative=(), group=TRENDS)] = False,
    scaling: Annotated[Scaling | None, Parameter(group=TRENDS)] = None,
    outliers: Annotated[Outliers | None, Parameter(group=TRENDS)] = None,
    method: Annotated[Method | None, Parameter(group=TRENDS)] = None,
    below: Annotated[float, Parameter(validator=validators.Number(gt=0), group=TRENDS)] = 0.1,
    records: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=TRENDS)] = 5,
    journal: Annotated[Path | None, Parameter(group=WORK)] = None,
    forget: Annotated[bool, Parameter(negative=(), group=WORK)] = False,
    jobs: Annotated[Jobs, Parameter(group=WORK)] = None,
    backend: Annotated[BackendOption, Parameter(group=WORK)] = "threading",
    seed: Annotated[Seed, Parameter(group=WORK)] = 0,
    table: Annotated[TableName | None, Parameter(group=PRINTED)] = None,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Measure how much every layer changed, over a training run or between two checkpoints.

    Args:
        tensors: Weights (parameters with two axes or more), or all: biases, norms and running statistics too.
        zero: What the elementwise ratio does with weights of 0: leave them out, be infinite as in the paper's code, or
            divide by 1e-8.
        median: Also the median of elementwise ratios.
        pattern: Where the step stands in the checkpoints' names: model_{step}.pt, or a regular expression.
        figure: The figure whose curves are clustered.
        published: Cluster with the paper's own steps.
        clusters: How many clusters, or how their number is chosen; bic goes with --method mixture.
        by_role: Cluster depthwise, pointwise, pointwise-linear and squeeze-excite layers each among themselves.
        scaling: What is done to curves before they are clustered; log if left out.
        outliers: Name outliers and leave them out, if left out; or put the mean in their place as published, or keep
            them.
        method: What clusters; kmeans if left out.
        below: A layer has stopped when it changes less than this part of the median layer, to the end.
        records: For how many records it must.
        journal: Where results are kept as they come, so that an interrupted survey goes on and new checkpoints are
            added; in the user's cache if left out.
        forget: Keep no journal, and use none.
        table: Which rows to print. If left out: steps, or of a run in a table to read, layers.
    """
    check_output(output, format_, sources=1, pictures=True)
    if not 1 <= len(source) <= PAIR:
        message = f"change takes a run, or two checkpoints, not {len(source)} sources"
        raise UsageError(message)
    from weightatlas import change as room  # after the arguments are known to be good: it loads torch

    analysis = _analysis(
        {"published": published, "scaling": scaling, "outliers": outliers, "method": method},
        figure=figure,
        clusters=clusters,
        by_role=by_role,
        below=below,
        records=records,
        seed=seed,
    )
    measured: Any = {"tensors": tensors, "zero": zero, "median": median, "jobs": jobs, "backend": backend}
    with progress_bar("weight change", quiet=quiet) as progress:
        if len(source) == PAIR:
            before, after = (open_checkpoint(name, layout=layout) for name in source)
            changes = room.compare(before, after, **measured, progress=progress)
        elif _is_record(source[0]):
            changes = room.analysed(room.read_records(source[0]), analysis)
        else:
            run = open_trajectory(source[0], pattern=pattern, layout=layout)
            kept = None if forget else journal or _journal_of(source[0])
            changes = room.survey(run, **measured, journal=kept, analysis=analysis, progress=progress)
    for note in changes.notes:
        report(f"{changes.source}: {note}")
    _print(changes, table, format_, output, median=median)
    return 0


def _print(
    changes: Changes, table: TableName | None, format_: Format | None, output: Path | None, *, median: bool
) -> None:
    """The rows; for whom reads a table, those of the layers of a run, and what was found."""
    is_read = format_ == "table" or (format_ is None and output is None)
    is_run = len(changes.steps) > 1
    table = table or ("layers" if is_read and is_run else "steps")
    print_results([changes], table, format_=format_, output=output, shown=_shown(table, median=median, is_run=is_run))
    if is_read:
        _tell(changes)


def _analysis(steps: dict[str, Any], **options: Any) -> Analysis:  # noqa: ANN401 - options on their way
    """The paper's steps or ours with the options that were given.

    Raises:
        UsageError: they make no sense together.
    """
    from weightatlas.change import DEFAULT, PUBLISHED, Analysis

    pipeline = PUBLISHED if steps.pop("published") else DEFAULT
    try:
        pipeline = replace(pipeline, **{name: value for name, value in steps.items() if value is not None})
        return Analysis(pipeline=pipeline, **options)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _shown(table: TableName, *, median: bool, is_run: bool) -> tuple[TerminalColumn, ...]:
    """The columns of a table in the terminal, less those that are empty or say nothing here."""
    empty = set() if median else {"median"}
    empty |= set() if is_run else ONLY_RUNS
    return tuple(column for column in SHOWN[table] if column.key not in empty or table != "steps")


def _tell(changes: Changes) -> None:
    """Say what the page's cover would, for whom reads the table."""
    from weightatlas.change.findings import change_findings

    for finding in sorted(change_findings(changes), key=lambda finding: -finding.importance):
        if len(changes.steps) == 1 and not finding.plate:
            continue  # two checkpoints that were named are known to be no run
        evidence = f" ({'; '.join(finding.evidence)})" if finding.evidence else ""
        report(f"{changes.source}: {finding.statement}{evidence}")


def _is_record(name: str) -> bool:
    """Whether a source is what a `Recorder` wrote, by its first line or that of a process's file beside it."""
    from weightatlas.change.recording.record_reading import RECORD
    from weightatlas.recording.record_file import file_of_rank, parsed

    path = Path(name)
    for file in (path, file_of_rank(path, 0)):
        if file.is_file():
            with file.open("rb") as opened:
                line = parsed(opened.readline(LINE))
            return line is not None and line.get("record") == RECORD
    return False


def _journal_of(run: str) -> Path | None:
    """Where the user's cache keeps what was measured of a run on this disk; None for others."""
    if not Path(run).is_dir():
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = sha256(os.fsencode(Path(run).resolve())).hexdigest()[:24]
    folder = cache / "weightatlas" / "change"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{name}.jsonl" if os.access(folder, os.W_OK) else None
