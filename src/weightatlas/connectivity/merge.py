"""Two checkpoints of one network into one: the second's units brought to the first's, then their average."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.anatomy.symmetry import Symmetries
from weightatlas.anatomy.symmetry import symmetries as find_symmetries
from weightatlas.checkpoints import Checkpoint, Written, open_checkpoint, write_like
from weightatlas.checkpoints.writing.write_like import check_target, refuse_overwriting
from weightatlas.connectivity.aligning.states import state_pair
from weightatlas.connectivity.matching import Matching, match
from weightatlas.connectivity.merged_state import MergedState, estimated
from weightatlas.connectivity.scoring.scored_lines import RECALIBRATION_BATCHES, Recalibrate, Recalibration
from weightatlas.errors import SourceError
from weightatlas.evaluation.example import example_inputs as inputs_of
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.loading import finite
from weightatlas.evaluation.models import open_model
from weightatlas.evaluation.recalibration import has_batch_statistics
from weightatlas.evaluation.states import COUNTER
from weightatlas.evaluation.weights_by_name import WeightsByName, not_finite
from weightatlas.progress import Progress, silent
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.evaluation.batches import Batch

    Source = Checkpoint | nn.Module | Mapping[str, Any] | str | os.PathLike[str]

COLUMNS: Final = (
    "other",
    "output",
    "weight",
    "aligned",
    "similarity_before",
    "similarity",
    "distance_before",
    "distance",
    "moved",
    "coverage",
    "recalibrated",
    "skipped",
)
PARTS: Final = 3
"""Of the work, as progress counts it: symmetries, matching, averaging."""

NAMED: Final = 4
"""How many names a note shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Two networks in one.

    Attributes:
        state: by the model's names, computed on access: the average, of the types of the first network.
        weight: of the second network.
        matching: what brings the second one's units to the first one's; None where nothing was aligned.
        similarity_before: cosine between the weights of both, -1 to 1.
        distance_before: between the weights of both.
        recalibrated: "batch-norm", "repair" or None: what was set right for the average.
        first: the first network's checkpoint, whose format the result is written in.
        second: the other one's.
        names: from the model's names to those in the first checkpoint.
        notes: what was assumed or left out, one sentence each.
    """

    state: MergedState
    weight: float
    matching: Matching | None
    similarity_before: float
    distance_before: float
    recalibrated: Recalibration | None
    first: Checkpoint
    second: Checkpoint
    names: Mapping[str, str]
    notes: tuple[str, ...]

    def write(self, path: str | os.PathLike[str], *, progress: Progress = silent) -> Written:
        """Write the average in the format of the first checkpoint, as `write_like` does.

        Args:
            path: a file, or a folder that holds nothing.
            progress: called as tensors are written.

        Raises:
            SourceError: the first checkpoint lies in no file, the path is one of the inputs, or what `write_like`
                raises.
        """
        check_output(path, self.first, self.second)
        names = {found: name for name, found in self.names.items()}

        def value(found: str) -> torch.Tensor | None:
            return self.state[names[found]] if found in names else None

        return write_like(self.first, value, path, progress=progress)

    def row(self, output: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """What was done, as one flat row with the fields of `COLUMNS`."""
        found = self.matching
        return {
            "other": self.second.source,
            "output": None if output is None else os.fspath(output),
            "weight": self.weight,
            "aligned": found is not None,
            "similarity_before": self.similarity_before,
            "similarity": None if found is None else found.similarity,
            "distance_before": self.distance_before,
            "distance": None if found is None else found.distance,
            "moved": None if found is None else found.moved,
            "coverage": None if found is None else found.symmetries.coverage,
            "recalibrated": self.recalibrated,
            "skipped": "not aligned, as asked" if found is None else None,
        }


def check_output(path: str | os.PathLike[str], first: Checkpoint, second: Checkpoint) -> None:
    """Refuse, before any work, a path that `Merged.write` would refuse.

    Raises:
        SourceError: it is one of the inputs, holds something, or is of another kind than the first checkpoint.
    """
    refuse_overwriting(Path(path), [Path(info.file) for info in second.info.values()])
    check_target(first, path)


def merge(
    a: Source,
    b: Source,
    *,
    model: nn.Module | str | os.PathLike[str] | None,
    weight: float = 0.5,
    align: bool = True,
    symmetries: Symmetries | None = None,
    recalibrate: Recalibrate = "auto",
    data: Iterable[Batch] | None = None,
    recalibration_batches: int = RECALIBRATION_BATCHES,
    example_inputs: Example | None = None,
    restarts: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> Merged:
    r"""Average two networks of one architecture, after bringing the second one's units to the first one's.

    \((1 - w)\, \theta_a + w\, P(\theta_b)\), where the permutation \(P\) of the second network's units leaves what it
    computes as it is and brings its weights as close to the first one's as matching finds (`match`). At a weight of 1
    that is the second network itself, aligned; at 0 the first.

    The activations of an average vary less than those of either network, and batch-norm statistics that are averaged
    along do not know: they are estimated anew on `data`. Without data they are the averages, and a note says so.

    Args:
        a: the first network: an open checkpoint or anything `open_checkpoint` takes.
        b: the second, which may have other names, types and another format.
        model: the network that both are weights of: what `open_model` takes; a module is left as it is.
        weight: of the second network, 0 to 1.
        align: match units first.
        symmetries: which may change places; None derives them from the model's graph.
        recalibrate: "auto" estimates batch-norm statistics where the model has them and there are data; "batch-norm"
            insists; "repair" sets the mean and deviation of every channel to the average of both networks', for
            networks without such norms; None leaves all as averaged. At weights of 0 and 1 nothing is estimated.
        data: pairs of inputs and targets, of training data best.
        recalibration_batches: of these, the first so many.
        example_inputs: one input that the model takes, to derive symmetries; None is the first of the data, or what
            the model says of itself.
        restarts: of the matching; the best is kept.
        seed: of every random choice.
        progress: called as parts are done.

    Returns:
        The average, and how alike the two were before and after matching.

    Raises:
        SourceError: a checkpoint does not fit the model or is not finite, the model cannot be exported (`align=False`
            needs no export), or the data do not fit.
        ValueError: the weight is outside 0 to 1 (beyond the ends variances turn negative), or data are needed and not
            there.

    **Source:** Ainsworth, Hayase and Srinivasa, *Git Re-Basin* (2023), for matching and averaging; Jordan and others,
    *REPAIR* (2023), for statistics. Symmetries are derived and verified here rather than written by hand.

    Example:
        >>> from weightatlas.evaluation import open_model
        >>> network = "weightatlas:resnet8-cifar?width=0.25"
        >>> first, second = (open_model(network, seed=seed) for seed in (0, 1))
        >>> merged = merge(first, second, model=network, recalibrate=None)
        >>> merged.matching.similarity > merged.similarity_before, merged.state["conv1.weight"].shape
        (True, torch.Size([4, 3, 3, 3]))
    """
    if not 0 <= weight <= 1:
        message = f"weight is the second network's share, 0 to 1, not {weight}: beyond that variances turn negative"
        raise ValueError(message)
    if recalibrate in ("batch-norm", "repair") and data is None:
        message = f"recalibrate={recalibrate!r} needs data to run the network on"
        raise ValueError(message)
    first, second = (one if isinstance(one, Checkpoint) else open_checkpoint(one) for one in (a, b))
    network = _network(model, a, first)
    ours, theirs = (WeightsByName(network, one) for one in (first, second))
    held = None if data is None else HeldBatches(data, batches=recalibration_batches)
    found = None
    if align:
        progress(0, PARTS, "symmetries")
        if symmetries is None:
            symmetries = _symmetries(network, example_inputs, held, seed)
        progress(1, PARTS, "matching")
        found = match(network, ours, theirs, symmetries, restarts=restarts, seed=seed)
        before = found.similarity_before, found.distance_before
    else:
        before = _before(network, ours, theirs)
    progress(2, PARTS, "averaging")
    state = MergedState(ours, theirs, weight, found)
    kind = _kind(network, first, recalibrate, held) if 0 < weight < 1 else None
    if kind is not None and held is not None:
        aligned = MergedState(ours, theirs, 1, found)
        fresh = estimated(network, state, (ours, aligned), held, kind, seed=seed)
        state.replaced = {name: tensor.to(ours[name].dtype) for name, tensor in fresh.items()}
    progress(PARTS, PARTS, "averaged")
    noted = _notes(network, state, (ours, theirs), found, recalibrate) if 0 < weight < 1 else ()
    return Merged(
        state=state,
        weight=weight,
        matching=found,
        similarity_before=before[0],
        distance_before=before[1],
        recalibrated=kind,
        first=first,
        second=second,
        names=ours.names,
        notes=tuple(dict.fromkeys((*_names_notes(ours, theirs), *noted))),
    )


def _network(model: nn.Module | str | os.PathLike[str] | None, a: Source, first: Checkpoint) -> nn.Module:
    """The network that both are weights of; a module of the user's as it is."""
    if isinstance(model, nn.Module):
        return model
    if model is None and isinstance(a, nn.Module):
        return a
    try:
        return open_model(model, checkpoint=first if model is not None else first.source)
    except SourceError:
        broken = next((name for name in first if not finite(first[name])), None)
        if broken is None:
            raise
        raise not_finite(first, broken) from None


def _symmetries(network: nn.Module, inputs: Example | None, held: HeldBatches | None, seed: int) -> Symmetries:
    """What may change places; where that cannot be told, say that networks can be averaged as they are."""
    try:
        if inputs is None:
            inputs = inputs_of(network) if held is None else next(iter(held))[0][:1]
        return find_symmetries(network, inputs, seed=seed)
    except SourceError as error:
        remedy = f"{error.remedy}, or average the networks as they are: align=False (--no-align)"
        raise SourceError(error.source, error.problem, remedy) from error


def _before(network: nn.Module, ours: WeightsByName, theirs: WeightsByName) -> tuple[float, float]:
    """Cosine of both networks' weights and the distance between them."""
    alone = Symmetries((), (), {}, verified=False, coverage=0.0)
    likeness = state_pair(network, alone, ours, theirs).likeness()
    return likeness.cosine, likeness.distance


def _kind(
    network: nn.Module, first: Checkpoint, recalibrate: Recalibrate, held: HeldBatches | None
) -> Recalibration | None:
    """What is estimated anew."""
    if recalibrate == "auto":
        return "batch-norm" if held is not None and has_batch_statistics(network) else None
    if recalibrate == "batch-norm" and not has_batch_statistics(network):
        problem = "its network has no batch-norm statistics to estimate anew"
        raise SourceError(first.source, problem, 'recalibrate with "repair", "auto" or None')
    return recalibrate


def _names_notes(ours: WeightsByName, theirs: WeightsByName) -> Iterator[str]:
    """What was undone to match names, and what is no part of the network."""
    for one, what in ((ours, "stays as it is"), (theirs, "is left out")):
        yield from (f"{one.checkpoint.source}: {note}" for note in one.notes)
        if one.extra:
            more = f" and {len(one.extra) - NAMED} more" if len(one.extra) > NAMED else ""
            shown = ", ".join(printable(name, limit=80) for name in one.extra[:NAMED])
            yield f"{one.checkpoint.source}: no part of the network, and {what}: {shown}{more}"


def _notes(
    network: nn.Module,
    state: MergedState,
    both: tuple[WeightsByName, WeightsByName],
    found: Matching | None,
    recalibrate: Recalibrate,
) -> Iterator[str]:
    """What a reader has to know of an average."""
    ours, theirs = both
    if found is not None and found.distance_before == 0:
        yield "both networks have the same weights"
    if found is not None and not found.symmetries.groups:
        yield "no units of this network may change places: the networks were averaged as they are"
    if recalibrate == "auto" and has_batch_statistics(network) and not state.replaced:
        yield "batch-norm statistics are the averages of both networks'; with data (--data) they are estimated anew"
    whole = [
        name
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, torch.Tensor) and not (tensor.is_floating_point() or tensor.is_complex())
    ]
    for name in whole:
        if not name.endswith(COUNTER) and not torch.equal(ours[name], theirs[name]):
            yield f"{printable(name, limit=80)}: its whole numbers are those of {ours.checkpoint.source}, not averages"
