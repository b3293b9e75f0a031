"""How degenerate a network is: free directions of its weights, the basis it computes in, the modules that remain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
from torch import nn

from weightatlas.degeneracy import tables
from weightatlas.degeneracy.counts import Counts, counts
from weightatlas.degeneracy.gauss_newton import gauss_newton_rank
from weightatlas.degeneracy.jacobian import LIMIT, TOLERANCE
from weightatlas.degeneracy.learning_coefficient import LOCALIZATION, LearningCoefficient, learning_coefficient
from weightatlas.degeneracy.modules import RESOLUTION
from weightatlas.degeneracy.sampling.posterior import default_nbeta
from weightatlas.degeneracy.structure import Formula, Structure, StructureMeasurement, Target
from weightatlas.degeneracy.structure_points import structure_points
from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.evaluation.networks import Network, network_of, source_name
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row
from weightatlas.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.evaluation import Data
    from weightatlas.plate import Plate

EXAMPLES: Final = 512
STRUCTURE_EXAMPLES: Final = 2000
UNASKED: Final = "it was not asked for"

Part = Literal["counts", "structure", "coefficient"]
PARTS: Final[tuple[Part, ...]] = ("counts", "structure", "coefficient")


@dataclass(frozen=True, slots=True, eq=False)
class Degeneracy(Result):
    """The degeneracy of one network on some data.

    Attributes:
        source: the network.
        counts: its free directions; None where they were not counted.
        structure: the interaction basis, its edges and modules; None where they were not measured.
        coefficient: the local learning coefficient; None where it was not sampled.
        missing: for each part that is None, why.
        data: what it was measured on.
        tolerance: below which share of the largest singular value another counts as 0.
        drop: of accuracy, that leaving out edges was allowed to cost.
        notes: what was assumed or left out, one sentence each.
        seed: of every random choice.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = tables.COLUMNS

    source: str
    counts: Counts | None
    structure: Structure | None
    coefficient: LearningCoefficient | None
    missing: Mapping[Part, str]
    data: str
    tolerance: float
    drop: float
    notes: tuple[str, ...]
    seed: int

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "counts", "layers", "curve", "edges", "modules", "ablations" or "chains"."""
        columns = self.columns(table)
        make = tables.ROWS[next(iter(tables.ROWS)) if table is None else table]
        return [{column: row.get(column) for column in columns} for row in make(self)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Singular values as `layer/activations`, bases as `point/to_basis`, edges as `point to point/strengths`."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for layer in () if self.counts is None else self.counts.layers:
            spectra = (("activations", layer.activation_spectrum), ("gradients", layer.gradient_spectrum))
            arrays |= {
                f"{layer.layer}/{name}": np.asarray(one.singular_values) for name, one in spectra if one is not None
            }
        if self.structure is not None:
            for point in self.structure.basis.points:
                for name in ("to_basis", "from_basis", "importances", "mean"):
                    arrays[f"{point.point}/{name}"] = np.asarray(getattr(point, name))
            for edge in self.structure.interactions.edges:
                arrays[f"{edge.source} to {edge.target}/strengths"] = np.asarray(edge.strengths)
            arrays["modules/labels"] = np.asarray(self.structure.modules.labels)
        if self.coefficient is not None:
            arrays["chains/losses"] = np.asarray(self.coefficient.traces)
        return arrays

    def chart(self) -> alt.Chart | alt.LayerChart | alt.HConcatChart | alt.VConcatChart | alt.FacetChart:
        """Free directions by layer; the graph of interactions where nothing was counted."""
        from weightatlas.degeneracy.drawing.counts_chart import counts_chart
        from weightatlas.degeneracy.drawing.graph_chart import graph_chart

        if self.counts is None and self.structure is not None:
            return graph_chart(self.structure.interactions, self.structure.modules)
        return counts_chart(self)

    def plates(self) -> Sequence[Plate]:
        """Findings, free directions, spectra, the course over examples, the graph, what may be left out, chains."""
        from weightatlas.degeneracy.plates import degeneracy_plates

        return degeneracy_plates(self)


def survey(
    source: Network,
    *,
    model: nn.Module | str | None = None,
    data: Data,
    parts: Sequence[Part] = ("counts", "structure"),
    examples: int | None = EXAMPLES,
    tolerance: float = TOLERANCE,
    exact: bool | Literal["auto"] = "auto",
    at: Sequence[str] | None = None,
    structure_examples: int | None = STRUCTURE_EXAMPLES,
    target: Target = "next",
    formula: Formula = "jacobian",
    drop: float = 0.001,
    resolution: float = RESOLUTION,
    nulls: int = 99,
    chains: int = 4,
    draws: int = 200,
    localization: float = LOCALIZATION,
    seed: int = 0,
    progress: Progress = silent,
) -> Degeneracy:
    """Measure how degenerate a network is on some data.

    Directions of its weights along which its outputs on the data do not change are counted by what frees them, and
    beside the exact number (`counts`). At named points from input to output the basis is found in which they interact
    least (`interaction_basis`), with the edges between its directions (`interactions`), how few of them keep the
    accuracy (`edge_ablation`), beside principal components, and the modules that they form (`modules`). On demand the
    local learning coefficient is sampled (`learning_coefficient`), beside the bracket that the curvature of the loss on
    the same examples gives, where the estimate is bound by it (`gauss_newton_rank`).

    Args:
        source: an open checkpoint, a live model, or anything `open_checkpoint` takes.
        model: what `open_model` takes, if the source is no model itself.
        data: what `open_data` gives.
        parts: what is measured: "counts", "structure", "coefficient".
        examples: of the data that directions are counted on; None is all.
        tolerance: share of the largest singular value up to which another counts as 0.
        exact: have the exact number of free directions, and the bracket of the learning coefficient for 4,096 weights
            at most; "auto": where that is cheap.
        at: points of the structure, in the order of the network: "path" is what goes into a module, "path:output" what
            comes out, "output" what the network gives. None takes what goes into fully connected layers.
        structure_examples: of the data that structure is measured on; None is all.
        target: of the basis: the next point (local), or the output (global).
        formula: of the basis.
        drop: of accuracy, that leaving out edges may cost.
        resolution: of modules: more gives more and smaller ones.
        nulls: rewired graphs that the modularity is compared with.
        chains: of the sampler.
        draws: of each of them.
        localization: precision of the prior that holds them near the network's weights.
        seed: of every random choice.
        progress: called as parts are done.

    Raises:
        SourceError: the source, the model or the data cannot be used together, or nothing can be measured.
        NotFiniteError: nothing can be measured because activations or derivatives are not finite.
        ValueError: an option is out of range.

    **Source:** "Using Degeneracy in the Loss Landscape for Mechanistic Interpretability" (Bushnaq and others, 2024)
    and "The Local Interaction Basis" (2024). See the functions named above for what is ours.

    Example:
        >>> from weightatlas.evaluation import open_data
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
        >>> found = survey(network, data=open_data("digits?batch_size=16"), examples=32, parts=["counts"])
        >>> [(row["layer"], row["source"], row["limit"]) for row in found.rows()][:2]
        [(None, 'activations', 320), (None, 'gradients', 320)]
    """
    unknown = set(parts) - set(PARTS)
    if unknown or not parts:
        message = f"parts are {listed(PARTS)}, not {', '.join(sorted(unknown)) or 'none'}"
        raise ValueError(message)
    network = network_of(source, model)
    counting: dict[str, Any] = {"examples": examples, "tolerance": tolerance, "exact": exact, "seed": seed}
    structured = StructureMeasurement(
        target=target,
        formula=formula,
        drop=drop,
        resolution=resolution,
        nulls=nulls,
        examples=structure_examples,
        seed=seed,
    )
    sampling: dict[str, Any] = {
        "chains": chains,
        "draws": draws,
        "localization": localization,
        "examples": structure_examples,
        "seed": seed,
    }
    done: dict[Part, Any] = {}
    missing: dict[Part, str] = dict.fromkeys(PARTS, UNASKED)
    failures: list[SourceError | NotFiniteError] = []
    wanted = [part for part in PARTS if part in parts]
    for place, part in enumerate(wanted):
        told = _Part(progress, part, place, len(wanted))
        try:
            if part == "counts":
                done[part] = counts(network, data, progress=told, **counting)
            elif part == "structure":
                points = structure_points(network, data) if at is None else tuple(at)
                done[part] = structured(network, data, points, told)
            else:
                bracket = None if exact is False else _bracket(network, data, structure_examples, localization, seed)
                done[part] = learning_coefficient(network, data, bracket=bracket, progress=told, **sampling)
        except (SourceError, NotFiniteError) as error:
            failures.append(error)
            missing[part] = error.problem if isinstance(error, SourceError) else str(error)
        told.end()
    if not done:
        raise failures[0]
    return Degeneracy(
        source=source_name(source),
        **{part: done.get(part) for part in PARTS},
        missing={part: why for part, why in missing.items() if part not in done},
        data=data.name,
        tolerance=tolerance,
        drop=drop,
        notes=tuple(_notes(done, missing)),
        seed=seed,
    )


def _bracket(
    network: nn.Module, data: Data, examples: int | None, localization: float, seed: int
) -> tuple[float, float] | None:
    """What the curvature of the sampled loss says of its learning coefficient; None where it is not had or not bound.

    Raises:
        SourceError: the network and the data cannot be used together, or are too few for a temperature.
        NotFiniteError: a derivative is not finite.
    """
    size = sum(tensor.numel() for tensor in network.parameters() if tensor.requires_grad)
    if not 0 < size <= LIMIT:
        return None
    found = gauss_newton_rank(network, data, examples=examples, seed=seed)
    return found.bracket_at(default_nbeta(found.examples), localization)


class _Part:
    """Tells of the work on one part as of so many thousandths of all.

    Counting goes over the data again and again, nobody knows how often: there each pass is half of what is left.
    """

    def __init__(self, progress: Progress, part: Part, place: int, parts: int) -> None:
        self._progress, self._part, self._place, self._parts = progress, part, place, parts
        self._of_a_pass = 0.5 if part == "counts" else 1.0
        self._before = self._within = self._highest = 0.0

    def __call__(self, done: int, total: int, label: str) -> None:
        within = done / total if total else 1.0
        if within < self._within:
            self._before = self._highest
        self._within = within
        reached = self._before + (1 - self._before) * self._of_a_pass * within
        self._highest = max(self._highest, reached)
        self._tell(f"{self._part}: {label}" if label else self._part)

    def end(self) -> None:
        """Tell that the part is over, however it ended."""
        self._highest = 1.0
        self._tell(self._part)

    def _tell(self, label: str) -> None:
        self._progress(round(1000 * (self._place + self._highest) / self._parts), 1000, label)


def _notes(done: Mapping[Part, Any], missing: Mapping[Part, str]) -> Iterator[str]:
    """What a reader has to know."""
    for part in done:
        yield from getattr(done[part], "notes", ())
    for part, why in missing.items():
        if part not in done and why != UNASKED:
            yield f"{part} not measured: {why}"
