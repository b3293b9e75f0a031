"""Whether networks of one shape are joined by straight lines: alignment, barriers, layers, and the plane of three."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np
import torch
from torch import nn

from weightatlas.anatomy.symmetry import Symmetries, symmetries
from weightatlas.connectivity import tables
from weightatlas.connectivity.landscape import Plane, plane
from weightatlas.connectivity.pair import PARTS, UNASKED, Pair, PairMeasurement, unjoined
from weightatlas.errors import SourceError
from weightatlas.evaluation import example_inputs
from weightatlas.evaluation.networks import Network, network_of, source_name
from weightatlas.progress import Progress, silent
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.evaluation import Data
    from weightatlas.plate import Plate

    Recalibrate = Literal["auto", "batch-norm", "repair"] | None

EXAMPLES: Final = 1000
"""That losses along a line are means over: an error rate is then sure to 1.6 percentage points (one deviation)."""
LAYER_EXAMPLES: Final = 256
RECALIBRATION_BATCHES: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Connection(Result):
    """What joins several networks of one shape.

    Attributes:
        source: the first network.
        others: the networks it is joined to, in the order given.
        symmetries: which units may change places; None where that could not be told, or was not asked for.
        pairs: the first network with each of the others.
        plane: the loss on the plane through the first three networks that are not the same, the others brought to the
            first one's units; None where there are fewer, or no data.
        data: what they were run on; None where there was none.
        notes: what was assumed or left out, one sentence each.
        seed: of every random choice.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = tables.COLUMNS

    source: str
    others: tuple[str, ...]
    symmetries: Symmetries | None
    pairs: tuple[Pair, ...]
    plane: Plane | None
    data: str | None
    notes: tuple[str, ...]
    seed: int

    def rows(self, table: str | None = None) -> list[Row]:
        """Rows of "path", "layers", "groups" or "barriers"."""
        columns = self.columns(table)
        make = tables.ROWS[next(iter(tables.ROWS)) if table is None else table]
        return [{column: row.get(column) for column in columns} for row in make(self)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Permutations as `pair N/permutations/group`, lines as `pair N/line N/what`, and the plane."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for number, pair in enumerate(self.pairs, start=1):
            if pair.matching is not None:
                arrays |= {
                    f"pair {number}/permutations/{name}": np.asarray(order)
                    for name, order in pair.matching.permutations.items()
                }
            for place, line in enumerate(pair.lines, start=1):
                for what in ("alphas", "losses", "errors"):
                    arrays[f"pair {number}/line {place}/{what}"] = getattr(line.barrier, what)
        if self.plane is not None:
            arrays |= {f"plane/{what}": getattr(self.plane, what) for what in ("xs", "ys", "losses", "points")}
        return arrays

    def chart(self) -> alt.HConcatChart | alt.VConcatChart | alt.Chart:
        """The loss along every line; the axes that may change places where there is no loss."""
        from weightatlas.connectivity.drawing.coverage_chart import coverage_chart
        from weightatlas.connectivity.drawing.curves_chart import curves_chart

        return curves_chart(self) if self.data is not None else coverage_chart(self)

    def plates(self) -> Sequence[Plate]:
        """Findings, lines, layers, prediction, what may change places, the plane."""
        from weightatlas.connectivity.plates import connection_plates

        return connection_plates(self)


def survey(
    first: Network,
    *others: Network,
    model: nn.Module | str | None = None,
    data: Data | None = None,
    align: bool = True,
    recalibrate: Recalibrate = "auto",
    recalibration_data: Data | None = None,
    recalibration_batches: int = RECALIBRATION_BATCHES,
    points: int = 11,
    examples: int | None = EXAMPLES,
    layers: bool = True,
    layer_examples: int = LAYER_EXAMPLES,
    curvature: bool = False,
    grid: bool = True,
    restarts: int = 3,
    nulls: int = 0,
    seed: int = 0,
    progress: Progress = silent,
) -> Connection:
    """Measure whether the first of several networks is joined to the others by straight lines.

    For each of the others: its units are brought to the first one's (`match`, by weights); loss and error along the
    straight line to it, before and after that, with batch-norm statistics as interpolated and estimated anew
    (`barrier`); on the aligned line every layer on its own (`layer_barriers`), beside what both ends' derivatives
    predict (`predicted_barriers`). Of three networks or more, the loss on the plane of the first three. Which units
    may change places is derived from the model's graph and tried (`symmetries`).

    A model that cannot be exported is not aligned; the notes say why, and the rest is measured.

    Args:
        first: an open checkpoint, a live model, or anything `open_checkpoint` takes.
        others: one or more of these, of the same shape.
        model: what `open_model` takes, if the first one is no model itself.
        data: what `open_data` gives; held-out data, best. Without it there is only the alignment.
        align: bring units to each other.
        recalibrate: as `barrier` takes it.
        recalibration_data: what statistics are estimated on, training data best; None is `data`.
        recalibration_batches: of that, at every point of a line.
        points: of every line, both ends counted.
        examples: that losses along lines are means over, the first ones; None is all.
        layers: measure layers one by one too; it takes longer than all lines.
        layer_examples: for that.
        curvature: measure curvature along the line too: that which second derivatives see, and that in kinks.
        grid: of three networks or more, measure the loss on their plane.
        restarts: of the matching, from different orders; the best is kept.
        nulls: matchings of networks whose weights are shuffled within every tensor: how alike chance makes them.
        seed: of every random choice.
        progress: called as parts are done.

    Raises:
        SourceError: a source, the model or the data cannot be used together.
        ValueError: there is no other network, or an option is out of range.

    **Source:** "Landscaping Linear Mode Connectivity" (Singh and others, 2024); Ainsworth and others, Git Re-Basin
    (2023); Jordan and others, REPAIR (2023), for statistics; Adilova and others, Layer-wise linear mode connectivity
    (2024). See the functions named above for what is ours.

    Example:
        >>> from weightatlas.evaluation import open_data, open_model
        >>> networks = [open_model("weightatlas:resnet8-cifar?width=0.25", seed=seed) for seed in (0, 1)]
        >>> data = open_data("scenes?batch_size=16")
        >>> found = survey(*networks, data=data, points=3, examples=32, layers=False, restarts=1)
        >>> [(row["alpha"], row["aligned"], row["recalibrated"]) for row in found.rows()][3:6]
        [(0.0, False, True), (0.5, False, True), (1.0, False, True)]
    """
    if not others:
        message = "two networks or more are needed"
        raise ValueError(message)
    names = _distinct([source_name(one) for one in (first, *others)])
    network = network_of(first, model)
    state = _state(network)
    found, notes = _symmetries(network, data, seed) if align else (None, [])
    measure = PairMeasurement(
        model=network,
        symmetries=found,
        data=data,
        recalibration_data=recalibration_data,
        matching={"restarts": restarts, "nulls": nulls},
        line={
            "points": points,
            "examples": examples,
            "recalibrate": recalibrate,
            "recalibration_batches": recalibration_batches,
        },
        layers={
            "examples": layer_examples,
            "recalibration_batches": recalibration_batches,
        }
        if layers
        else None,
        curvature=curvature,
        seed=seed,
    )
    parts = PARTS * len(others) + (len(others) > 1)
    pairs: list[Pair] = []
    moved: list[Mapping[str, torch.Tensor]] = []
    failures: list[SourceError] = []
    for number, (name, other) in enumerate(zip(names[1:], others, strict=True)):
        told = partial(_told, progress, PARTS * number, parts)
        try:
            theirs = _state(network_of(other, network if model is None else model))
            _same_shapes(state, theirs, names[0], name)
            pairs.append(measure((names[0], state), (name, theirs), told))
        except SourceError as error:
            failures.append(error)
            pairs.append(unjoined(names[0], name, str(error)))
            continue
        matching = pairs[-1].matching
        if matching is None or matching.distance:  # one that is the first network itself spans no plane with it
            moved.append(theirs if matching is None else matching.align(theirs))
    if len(failures) == len(others):
        raise failures[0]
    drawn = None
    if len(moved) > 1 and data is not None and grid:
        how: Literal["auto"] | None = None if recalibrate in (None, "repair") else "auto"
        try:
            drawn = plane(network, state, moved[0], moved[1], data, recalibrate=how, examples=layer_examples, seed=seed)
        except ValueError as error:
            notes.append(f"no plane is drawn: {error}")
        progress(parts, parts, "plane")
    return Connection(
        source=names[0],
        others=tuple(names[1:]),
        symmetries=found,
        pairs=tuple(pairs),
        plane=drawn,
        data=None if data is None else data.name,
        notes=tuple(dict.fromkeys((*notes, *_notes(pairs)))),
        seed=seed,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Names with a number where one stands twice."""
    return [
        name if names.count(name) == 1 else f"{name} #{list(names[: place + 1]).count(name)}"
        for place, name in enumerate(names)
    ]


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in network.state_dict().items() if isinstance(tensor, torch.Tensor)}


def _same_shapes(state: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], ours: str, theirs: str) -> None:
    """See that live models have the same tensors; checkpoints were loaded into one model."""
    shapes, others = ({name: tuple(one.shape) for name, one in each.items()} for each in (state, other))
    name = next((one for one in {**shapes, **others} if shapes.get(one) != others.get(one)), None)
    if name is not None:
        problem = f"{name} is {shapes.get(name, 'absent')} in {ours} and {others.get(name, 'absent')} here"
        raise SourceError(theirs, problem, "give networks of one shape")


def _told(progress: Progress, before: int, parts: int, done: int, _all: int, label: str) -> None:
    """Tell of a part of one pair as a part of all."""
    progress(before + done, parts, label)


def _symmetries(network: nn.Module, data: Data | None, seed: int) -> tuple[Symmetries | None, list[str]]:
    """What may change places, or why that cannot be told."""
    try:
        return symmetries(network, example_inputs(network, data=data), seed=seed), []
    except SourceError as error:
        return None, [f"not aligned: {error.problem}"]


def _notes(pairs: Sequence[Pair]) -> Iterator[str]:
    """What a reader has to know of all pairs."""
    for pair in pairs:
        for line in pair.lines:
            yield from getattr(line.barrier, "notes", ())
        if not pair.unjoined:
            yield from (f"{what} not measured: {why}" for what, why in pair.skipped.items() if why != UNASKED)
