"""`weightatlas branching`: what units are tuned to, which branch they are in, what branches the weights hide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter

from weightatlas.cli.options import (
    AT_LEAST_ONE,
    BackendOption,
    FormatOption,
    Jobs,
    Layout,
    Output,
    Quiet,
    Seed,
    Source,
)
from weightatlas.cli.printing import SUFFIXES, check_output, print_results
from weightatlas.cli.reporting import UsageError, for_each_source, progress_bar, report
from weightatlas.cli.sources import opened
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.branching import BranchingSurvey
    from weightatlas.cli.options import Format
    from weightatlas.result import Result, Row

TableName = Literal[
    "units", "branches", "families", "information", "implicit", "clusterability", "onset", "consistency"
]
Method = Literal["balanced", "correspondence", "centred", "raw"]

NETWORK: Final = Group.create_ordered("Which network")
MEASURED: Final = Group.create_ordered("What is measured")
WORK: Final = Group.create_ordered("How it is done")
PRINTED: Final = Group.create_ordered("What comes out")

Units = Annotated[Path | None, Parameter(group=MEASURED)]

SHOWN: Final[Mapping[TableName, tuple[TerminalColumn, ...]]] = {
    "units": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("unit", "unit"),
        TerminalColumn("branch", "branch"),
        TerminalColumn("class", "class"),
        TerminalColumn("class_score", "score"),
        TerminalColumn("chroma", "chroma"),
        TerminalColumn("orientation", "orientation °"),
        TerminalColumn("selectivity", "selectivity"),
        TerminalColumn("frequency", "cycles/px"),
        TerminalColumn("label", "responds to"),
    ),
    "branches": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("kind", "joined by"),
        TerminalColumn("branch", "branch"),
        TerminalColumn("size", "units", form="integer"),
        TerminalColumn("units", "of"),
        TerminalColumn("kernel", "kernel", form="shape"),
        TerminalColumn("bottleneck", "bottleneck"),
        TerminalColumn("weight", "made by"),
    ),
    "families": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("family", "family"),
        TerminalColumn("branch", "branch"),
        TerminalColumn("k", "k"),
        TerminalColumn("family_size", "of family"),
        TerminalColumn("branch_size", "of branch"),
        TerminalColumn("layer_size", "of layer"),
        TerminalColumn("p_value", "p", form="tiny"),
        TerminalColumn("q_value", "q", form="tiny"),
        TerminalColumn("binomial", "binomial", form="tiny"),
        TerminalColumn("by", "by"),
    ),
    "information": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("by", "by"),
        TerminalColumn("information", "bits"),
        TerminalColumn("null_mean", "at random"),
        TerminalColumn("excess", "excess"),
        TerminalColumn("branch_entropy", "of at most"),
        TerminalColumn("p_value", "p", form="tiny"),
        TerminalColumn("q_value", "q", form="tiny"),
        TerminalColumn("units", "units"),
    ),
    "implicit": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("next", "next"),
        TerminalColumn("axis", "axis"),
        TerminalColumn("share", "share"),
        TerminalColumn("null_mean", "at random", form="share"),
        TerminalColumn("p_value", "p"),
        TerminalColumn("q_value", "q"),
        TerminalColumn("chroma_rho", "chroma rho", form="signed"),
        TerminalColumn("frequency_rho", "frequency rho", form="signed"),
        TerminalColumn("units", "units"),
        TerminalColumn("next_units", "of next"),
    ),
    "clusterability": (
        TerminalColumn("clusters", "clusters"),
        TerminalColumn("ncut", "n-cut"),
        TerminalColumn("null_mean", "at random"),
        TerminalColumn("null_std", "± sd"),
        TerminalColumn("z_score", "z"),
        TerminalColumn("p_value", "p"),
        TerminalColumn("in_out_ratio", "in / out"),
        TerminalColumn("shuffles", "shuffles"),
        TerminalColumn("units", "units"),
    ),
    "onset": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("step", "step"),
        TerminalColumn("by", "by"),
        TerminalColumn("information", "bits"),
        TerminalColumn("null_mean", "at random"),
        TerminalColumn("excess", "excess"),
        TerminalColumn("p_value", "p", form="tiny"),
        TerminalColumn("q_value", "q", form="tiny"),
    ),
    "consistency": (
        TerminalColumn("family", "family"),
        TerminalColumn("branch", "branch"),
        TerminalColumn("runs", "runs"),
        TerminalColumn("runs_agreeing", "agree"),
        TerminalColumn("runs_significant", "significant"),
        TerminalColumn("agreement", "agreement"),
        TerminalColumn("agreement_null", "at random"),
        TerminalColumn("strength", "strength"),
        TerminalColumn("null_mean", "at random"),
        TerminalColumn("p_value", "p", form="tiny"),
        TerminalColumn("q_value", "q", form="tiny"),
    ),
}
"""What a table in the terminal shows, of the columns that hold something; JSON and CSV have every field."""

ROWS_ONLY: Final = (*SUFFIXES, ".parquet")
"""Files that hold the rows of one table; others hold all that there is."""


def branching(
    *source: Source,
    model: Annotated[str | None, Parameter(group=NETWORK)] = None,
    data: Annotated[str | None, Parameter(group=NETWORK)] = None,
    layout: Annotated[Layout, Parameter(group=NETWORK)] = None,
    layer: Annotated[tuple[str, ...], Parameter(negative=(), group=MEASURED, show_default=False)] = (),
    pictures: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    families: Units = None,
    branches: Units = None,
    chosen_after_looking: Annotated[bool, Parameter(negative=(), group=MEASURED)] = False,
    method: Annotated[Method, Parameter(group=MEASURED)] = "balanced",
    shuffles: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=MEASURED)] = 199,
    jobs: Annotated[Jobs, Parameter(group=WORK)] = None,
    backend: Annotated[BackendOption, Parameter(group=WORK)] = "threading",
    seed: Annotated[Seed, Parameter(group=WORK)] = 0,
    table: Annotated[TableName | None, Parameter(group=PRINTED)] = None,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Say what every unit is tuned to and where its kind gathers, and look for branches that weights hide.

    Args:
        source: The checkpoints; of a run the last is surveyed, and when its branches specialised.
        model: The network that the weights belong to, which tells its branches: timm:NAME, torchvision:NAME,
            weightatlas:NAME, package.module:callable, a .pt2 export, or a Hugging Face folder.
        data: What shows the size of the model's inputs, where it does not say: scenes, cifar10:PATH, a folder.
        layer: A deeper layer whose units are tuned too, by expanded weights and by stimuli; needs --model. May be
            given several times.
        pictures: Draw the units of --layer by feature visualisation, for a page, or for arrays.
        families: A file of families, JSON (layer to family to units) or CSV (layer, unit, family).
        branches: A file of branches in the same form, where the model does not tell them.
        chosen_after_looking: The families were made up after their branches were seen; every row says so.
        method: How the weights between two layers are compared; raw is the article's.
        shuffles: Of each matrix, for the null of hidden branches: p is at least 1 / (1 + shuffles).
        table: Which rows to print; clusterability is measured only when it is asked for, hidden branches also for a
            page and for arrays. If left out: units; with --families, families. Consistency is between several
            sources: how often their branches took the same.
    """
    check_output(output, format_, sources=1 if table == "consistency" else len(source), pictures=True)
    if pictures and not layer:
        message = "--pictures draws the units of --layer: name a layer"
        raise UsageError(message)
    # After the arguments are known to be good: this loads torch.
    from weightatlas.branching import read_families, survey
    from weightatlas.branching.surveying.recurring import recurring
    from weightatlas.evaluation import open_data

    chosen: TableName = table or ("units" if families is None else "families")
    options: dict[str, Any] = {
        "model": model,
        "data": None if data is None else open_data(data),
        "layers": layer,
        "visualized": pictures,
        "families": None if families is None else read_families(families),
        "families_name": "" if families is None else families.name,
        "branches": None if branches is None else read_families(branches),
        "chosen_after_looking": chosen_after_looking,
        "method": method,
        "shuffles": shuffles,
        "with_hidden": chosen == "implicit" or _holds_all(output, format_),
        "with_clusterability": chosen == "clusterability",
        "seed": seed,
        "jobs": jobs,
        "backend": backend,
    }

    def survey_one(name: str) -> BranchingSurvey:
        weights = opened(name, layout)
        with progress_bar("branching", quiet=quiet) as progress:
            found = survey(weights, **options, progress=progress)
        for note in dict.fromkeys((*weights.notes, *found.notes_of(chosen))):
            report(f"{name}: {note}")
        return found

    surveys, complete = for_each_source(source, survey_one)
    between = chosen == "consistency"
    results: Sequence[Result] = [recurring(surveys, seed=seed)] if between and surveys else surveys
    if results or output is None:
        of = None if between else chosen
        rows = [row for found in results for row in found.rows(of)]
        print_results(results, of, format_=format_, output=output, shown=_filled(rows, SHOWN[chosen]))
    return 0 if complete else 1


def _holds_all(output: Path | None, format_: Format | None) -> bool:
    """Whether the output is a page, arrays or a picture, not the rows of one table."""
    return output is not None and format_ is None and output.suffix.lower() not in ROWS_ONLY


def _filled(rows: Sequence[Row], shown: tuple[TerminalColumn, ...]) -> tuple[TerminalColumn, ...]:
    """The columns that hold something in any row; all where none does."""
    return tuple(column for column in shown if any(row[column.key] is not None for row in rows)) or shown
