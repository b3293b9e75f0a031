"""`weightatlas degeneracy`: free directions of a network's weights, the basis it computes in, modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Group, Parameter, validators

from weightatlas.cli.options import AT_LEAST_ONE, FormatOption, Layout, Output, Quiet, Seed, Source
from weightatlas.cli.printing import check_output, print_results
from weightatlas.cli.reporting import for_each_source, progress_bar, report
from weightatlas.cli.sources import last_opened
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from weightatlas.degeneracy import Degeneracy

TableName = Literal["counts", "layers", "curve", "edges", "modules", "ablations", "chains"]

NETWORK: Final = Group.create_ordered("Which network")
COUNTED: Final = Group.create_ordered("Free directions")
STRUCTURED: Final = Group.create_ordered("Basis, edges and modules")
SAMPLED: Final = Group.create_ordered("Learning coefficient")
PRINTED: Final = Group.create_ordered("What comes out")

WHOLE: Final = (".html", ".htm", ".npz")
"""Outputs that hold all that can be measured."""
PART: Final[Mapping[str, str]] = {
    "edges": "structure",
    "modules": "structure",
    "ablations": "structure",
    "chains": "coefficient",
}
"""The part that a table is of, where that is not the counts."""

SHOWN: Final[Mapping[TableName, tuple[TerminalColumn, ...]]] = {
    "counts": (
        TerminalColumn("layer", "layer", empty="(network)"),
        TerminalColumn("source", "freed by"),
        TerminalColumn("directions", "directions"),
        TerminalColumn("share", "of the weights", form="share"),
        TerminalColumn("data_limited", "data-limited"),
        TerminalColumn("parameters", "weights"),
        TerminalColumn("limit", "examples × outputs"),
    ),
    "layers": (
        TerminalColumn("layer", "layer"),
        TerminalColumn("parameters", "weights"),
        TerminalColumn("activation_width", "activations"),
        TerminalColumn("activation_rank", "rank"),
        TerminalColumn("activation_effective_rank", "effective"),
        TerminalColumn("gradient_width", "gradients"),
        TerminalColumn("gradient_rank", "rank"),
        TerminalColumn("gradient_effective_rank", "effective"),
        TerminalColumn("free", "free"),
        TerminalColumn("share", "of the weights", form="share"),
    ),
    "curve": (
        TerminalColumn("examples", "examples"),
        TerminalColumn("rank", "rank"),
        TerminalColumn("limit", "examples × outputs"),
        TerminalColumn("nullity", "free"),
        TerminalColumn("data_limited", "data-limited"),
    ),
    "edges": (
        TerminalColumn("layer", "from"),
        TerminalColumn("target", "to"),
        TerminalColumn("direction", "direction"),
        TerminalColumn("target_direction", "on"),
        TerminalColumn("strength", "strength"),
        TerminalColumn("share", "of the pair's", form="share"),
        TerminalColumn("kept", "needed"),
    ),
    "modules": (
        TerminalColumn("layer", "point"),
        TerminalColumn("direction", "direction"),
        TerminalColumn("module", "module"),
        TerminalColumn("importance", "importance"),
        TerminalColumn("interaction", "interaction"),
    ),
    "ablations": (
        TerminalColumn("layer", "point"),
        TerminalColumn("target", "to"),
        TerminalColumn("removed", "left out"),
        TerminalColumn("basis", "basis"),
        TerminalColumn("needed", "needed"),
        TerminalColumn("total", "of"),
        TerminalColumn("reached", "accuracy", form="share"),
        TerminalColumn("base", "before", form="share"),
    ),
    "chains": (
        TerminalColumn("chain", "chain"),
        TerminalColumn("estimate", "learning coefficient"),
        TerminalColumn("effective_draws", "effective draws"),
        TerminalColumn("initial_loss", "loss before"),
        TerminalColumn("flags", "doubts"),
    ),
}
"""What a table in the terminal shows; JSON and CSV have every field."""


def _at_two(_: object, points: tuple[str, ...]) -> None:
    """Refuse points between which there is nothing."""
    if points and (len(points) < 2 or len(set(points)) < len(points)):
        message = "two points or more are needed, each of them once; --at output is where the network ends"
        raise ValueError(message)


def degeneracy(
    *source: Source,
    data: Annotated[str, Parameter(group=NETWORK)],
    model: Annotated[str | None, Parameter(group=NETWORK)] = None,
    layout: Annotated[Layout, Parameter(group=NETWORK)] = None,
    examples: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=COUNTED)] = 512,
    tolerance: Annotated[float, Parameter(validator=validators.Number(gt=0, lt=1), group=COUNTED)] = 1e-9,
    exact: Annotated[Literal["auto", "yes", "no"], Parameter(group=COUNTED)] = "auto",
    at: Annotated[tuple[str, ...], Parameter(negative=(), validator=_at_two, group=STRUCTURED)] = (),
    structure_examples: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=STRUCTURED)] = 2000,
    target: Annotated[Literal["next", "output"], Parameter(group=STRUCTURED)] = "next",
    formula: Annotated[Literal["jacobian", "integrated"], Parameter(group=STRUCTURED)] = "jacobian",
    drop: Annotated[float, Parameter(validator=validators.Number(gte=0, lt=1), group=STRUCTURED)] = 0.001,
    resolution: Annotated[float, Parameter(validator=validators.Number(gt=0), group=STRUCTURED)] = 0.5,
    nulls: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=STRUCTURED)] = 99,
    counts_only: Annotated[bool, Parameter(negative=(), group=STRUCTURED)] = False,
    coefficient: Annotated[bool, Parameter(negative=(), group=SAMPLED)] = False,
    chains: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=SAMPLED)] = 4,
    draws: Annotated[int, Parameter(validator=AT_LEAST_ONE, group=SAMPLED)] = 200,
    localization: Annotated[float, Parameter(validator=validators.Number(gte=0), group=SAMPLED)] = 1.0,
    seed: Annotated[Seed, Parameter(group=PRINTED)] = 0,
    table: Annotated[TableName | None, Parameter(group=PRINTED)] = None,
    format_: Annotated[FormatOption, Parameter(group=PRINTED)] = None,
    output: Annotated[Output, Parameter(group=PRINTED)] = None,
    quiet: Annotated[Quiet, Parameter(group=PRINTED)] = False,
) -> int:
    """Count the directions of the weights that do nothing, find the basis a network computes in, draw its modules.

    Args:
        source: The checkpoints; a run counts with its last one.
        data: What the network is run on: scenes, digits, digit-pairs, modular-addition, cifar10:PATH, cifar100:PATH,
            svhn:PATH, a folder of images, Parquet, .npz, or package.module:callable.
        model: The network that the weights belong to: timm:NAME, torchvision:NAME, weightatlas:NAME,
            package.module:callable, a .pt2 export, or left out for a Hugging Face folder.
        examples: That directions are counted on. A network with more weights than examples times outputs has free
            directions whatever it computes; the rows say so.
        tolerance: Share of the largest singular value up to which another counts as 0.
        exact: Count all directions that are free, also those that no kind explains; auto does where that is cheap.
        at: A point of the basis, in the order of the network, given several times: PATH is what goes into that
            module, PATH:output what comes out, output what the network gives. If left out, what goes into each of the
            last twelve fully connected layers that have at most 4,096 inputs.
        structure_examples: That the basis and its edges are measured on.
        target: What the basis is for: the next point (local), or the output (global).
        formula: Jacobians at the activations, or integrated on the way to them.
        drop: Accuracy that leaving out edges may cost.
        resolution: Of modules: more gives more and smaller ones.
        nulls: Rewired graphs that the modules are compared with: p is at least 1 / (1 + nulls).
        counts_only: Leave the basis, its edges and modules out of a page or arrays.
        coefficient: Sample the local learning coefficient too; needs the extra llc.
        chains: Of the sampler.
        draws: Of each chain, burn-in left out.
        localization: Precision of the prior that holds chains near the weights. Directions of less curvature than this
            divided by nβ do not count; an estimate that hangs on it is flagged.
        table: Which rows to print; counts if left out. Edges, modules and ablations measure the basis instead.
    """
    check_output(output, format_, sources=len(source), pictures=True)
    # After the arguments are known to be good: this loads torch.
    from weightatlas.degeneracy import survey
    from weightatlas.evaluation import open_data

    shown = open_data(data)
    for note in shown.notes:
        report(f"{data}: {note}")
    options: dict[str, Any] = {
        "parts": _parts(table, output, at=at, counts_only=counts_only, coefficient=coefficient),
        "examples": examples,
        "tolerance": tolerance,
        "exact": {"auto": "auto", "yes": True, "no": False}[exact],
        "at": at or None,
        "structure_examples": structure_examples,
        "target": target,
        "formula": formula,
        "drop": drop,
        "resolution": resolution,
        "nulls": nulls,
        "chains": chains,
        "draws": draws,
        "localization": localization,
        "seed": seed,
    }

    def survey_one(name: str) -> Degeneracy:
        weights = last_opened(name, layout)
        with progress_bar("degeneracy", quiet=quiet) as progress:
            found = survey(weights, model=model, data=shown, **options, progress=progress)
        for note in found.notes:
            report(f"{name}: {note}")
        return found

    surveys, complete = for_each_source(source, survey_one)
    if surveys or output is None:
        chosen: TableName = table or "counts"
        print_results(surveys, chosen, format_=format_, output=output, shown=SHOWN[chosen])
        if format_ == "table" or (format_ is None and output is None):
            _say(surveys)
    return 0 if complete else 1


def _parts(
    table: TableName | None, output: Path | None, *, at: Sequence[str], counts_only: bool, coefficient: bool
) -> tuple[str, ...]:
    """What is measured: all for a page, for rows what they are of."""
    whole = output is not None and output.suffix.lower() in WHOLE and table is None
    parts = {PART.get(table or "counts", "counts")}
    if whole and not counts_only:
        parts |= {"structure"}
    if at and table is None:
        parts |= {"structure"}
    if coefficient:
        parts |= {"coefficient", "counts"}
    return tuple(part for part in ("counts", "structure", "coefficient") if part in parts)


def _say(surveys: Sequence[Degeneracy]) -> None:
    """For whom reads a table, what was found."""
    from weightatlas.degeneracy.findings import degeneracy_findings

    for found in surveys:
        of = f"{found.source}: " if len(surveys) > 1 else ""
        for finding in degeneracy_findings(found):
            evidence = f" ({'; '.join(finding.evidence)})" if finding.evidence else ""
            report(f"{of}{finding.statement}{evidence}")
