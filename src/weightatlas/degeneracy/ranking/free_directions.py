"""The free directions of a network, kind by kind, as vectors that can be followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from scipy import sparse

from weightatlas.degeneracy.block_directions import block_directions
from weightatlas.degeneracy.directions import SOURCES, LayerFreedom, Source
from weightatlas.degeneracy.grams import LayerGrams, layer_grams
from weightatlas.degeneracy.heads import head_directions, head_pairs, shift_directions
from weightatlas.degeneracy.ranking.live_activations import LiveNulls, live_nulls
from weightatlas.degeneracy.ranking.weight_places import weight_index, why_not
from weightatlas.degeneracy.streams import Moving, Streams, stream_changes, streams
from weightatlas.degeneracy.synchrony import Synchrony, synchrony, undecided_notes
from weightatlas.degeneracy.union import rank_of_rows, rows_of_changes, sparse_rows
from weightatlas.degeneracy.wiring.constants import Constants
from weightatlas.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from weightatlas.degeneracy.layer_gram import LayerGram
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.degeneracy.streams import Changes
    from weightatlas.evaluation.held_batches import HeldBatches
    from weightatlas.progress import Progress

BLOCKS: Final = 8192
"""Directions of one kind in the whole network that are written out; of synchronised units the scalings of single ones
are where there are more, and of another kind none."""

Wired = Literal["heads", "linear", "norms"]
WIRED: Final[tuple[Wired, ...]] = ("heads", "linear", "norms")
"""Kinds that follow from how layers are wired, whatever the data."""

Kind = Source | Literal["synchronised"] | Wired

WORDS: Final[Mapping[Kind, str]] = {
    "activations": "dependent activations",
    "gradients": "dependent gradients",
    "conditional": "activations where units are live",
    "synchronised": "synchronised units",
    "heads": "bases of heads",
    "linear": "bases that linear maps alone share",
    "norms": "scales and shifts of norms",
}

_UNSTEADY: Final = "changes of basis among units that fire together change the outputs"


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """That all directions of one kind in one layer are free, and a random combination of them to try it on.

    Attributes:
        kind: the kind.
        layer: module path; of directions that move several layers, the one whose units they are about.
        columns: int64, which parameters it moves.
        values: by how much, of length 1.
        directions: how many they are; of those that move several layers, some may depend on others.
    """

    kind: Kind
    layer: str
    columns: torch.Tensor
    values: torch.Tensor
    directions: int

    def withdrawal(self, change: float) -> str:
        """Say that it does not hold, and how far the outputs change, in units of the steepest change."""
        found = counted(self.directions, "direction")
        return (
            f"{self.layer}: {found} by {WORDS[self.kind]} were claimed, and change the outputs, all or some of them "
            f"(by {change:.0e} of the steepest change): none is counted"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Directions that move several layers, of one kind.

    Attributes:
        rows: of length 1, over all parameters.
        owners: for each the layer whose units it is about.
    """

    rows: sparse.csr_array
    owners: tuple[str, ...]

    @classmethod
    def of(cls, parts: Sequence[tuple[str, sparse.csr_array]], parameters: int) -> Shared:
        """Join those of several layers."""
        every = [sparse.csr_array((0, parameters)), *(rows for _, rows in parts)]
        owners = tuple(layer for layer, rows in parts for _ in range(rows.shape[0]))
        return cls(sparse.csr_array(sparse.vstack(every, format="csr")), owners)

    def rank(self, layer: str | None = None) -> int:
        """How many are independent, of one layer or all."""
        places = self._places(layer)
        return rank_of_rows(self.rows[places]) if places else 0

    def without(self, layers: Collection[str]) -> Shared:
        """Those of other layers."""
        left = [place for place, owner in enumerate(self.owners) if owner not in layers]
        return Shared(self.rows[left], tuple(self.owners[place] for place in left))

    def combined(self, layer: str, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random combination of a layer's, of length 1: which parameters it moves, and by how much."""
        own = self.rows[self._places(layer)]
        weights = torch.randn(own.shape[0], generator=generator, dtype=torch.float64).numpy()
        columns, places = np.unique(own.indices, return_inverse=True)
        found = np.bincount(places, own.data * np.repeat(weights, np.diff(own.indptr)))
        return columns.astype(np.int64), found / np.linalg.norm(found)

    def _places(self, layer: str | None) -> list[int]:
        return [place for place, owner in enumerate(self.owners) if layer in (None, owner)]


@dataclass(frozen=True, slots=True, eq=False)
class FreeDirections:
    """All of them.

    Attributes:
        grams: of the layers that could be followed.
        freedoms: of those whose weights are trained parameters, by layer.
        reasons: why others are not among them, by layer.
        live: the null vectors that the conditional kind is claimed from, by layer, with how many half of the positions
            give.
        rectified: synchronised units, by layer.
        shared: what these free.
        wired: what bases within attention heads free ("heads"), those of channels that linear maps alone write and
            read ("linear"), and the scales and shifts of norms ("norms"); without those of which there are none, or
            too many.
        notes: what was left out.
    """

    grams: LayerGrams
    freedoms: Mapping[str, LayerFreedom]
    reasons: Mapping[str, str]
    live: Mapping[str, LiveNulls]
    rectified: Mapping[str, Synchrony]
    shared: Shared
    wired: Mapping[Wired, Shared]
    notes: tuple[str, ...]

    @property
    def others(self) -> sparse.csr_array:
        """Those that move several layers, as rows of length 1."""
        parts = [self.shared.rows, *(one.rows for one in self.wired.values())]
        return sparse.csr_array(sparse.vstack(parts, format="csr"))

    def total(self, source: Source) -> int | None:
        """Directions of a kind in all layers; None where it was measured in none, or is withdrawn."""
        found = [count for one in self.freedoms.values() if (count := one.count(source)) is not None]
        return sum(found) if found else None

    def synchronised(self, layer: str | None = None) -> int | None:
        """The rank of those of synchronised units, in a layer or the whole network; None where nothing is rectified."""
        return self.shared.rank(layer) if self._measured(layer) else None

    def rescalings(self, layer: str | None = None) -> int | None:
        """Scalings of single units, which are independent; those of units without weights do nothing. None as above."""
        measured = self._measured(layer)
        return min(sum(one.rescalings for one in measured), self.shared.rank(layer)) if measured else None

    def wired_rank(self, source: Wired, layer: str | None = None) -> int | None:
        """The rank of one kind of these, of a layer or the whole network; None where there are none."""
        found = self.wired.get(source)
        if found is None or (layer is not None and layer not in found.owners):
            return None
        return found.rank(layer)

    def _measured(self, layer: str | None) -> list[Synchrony]:
        return [one for one in self.rectified.values() if one.skipped is None and layer in (None, one.layer)]

    def rows(self, network: ParameterMap) -> Iterator[torch.Tensor]:
        """Every vector of every kind, some at a time, (any number, parameters)."""
        for freedom in self.freedoms.values():
            for source in SOURCES:
                yield from freedom.vectors(source, network.size)
        if self.others.shape[0]:
            yield torch.from_numpy(self.others.toarray()).to(network.device)

    def claims(self, generator: torch.Generator) -> tuple[Claim, ...]:
        """What is claimed: every kind of every layer, each with a random combination of its directions, by kind."""
        found = []
        for source in SOURCES:
            for layer, freedom in self.freedoms.items():
                matrix = freedom.combined(source, generator)
                if matrix is not None:
                    count = freedom.count(source) or 0
                    found.append(Claim(source, layer, freedom.index.flatten(), matrix.flatten(), count))
        several: list[tuple[Kind, Shared]] = [("synchronised", self.shared), *self.wired.items()]
        for kind, shared in several:
            for layer, count in Counter(shared.owners).items():
                columns, values = shared.combined(layer, generator)
                found.append(Claim(kind, layer, torch.from_numpy(columns), torch.from_numpy(values), count))
        return tuple(found)

    def without(self, failed: Mapping[Claim, float]) -> FreeDirections:
        """What is left without some claims, and notes that say so.

        Args:
            failed: the claims, and how far the outputs change along each, in units of the steepest change.
        """
        freedoms, wired = dict(self.freedoms), dict(self.wired)
        unsteady = {claim.layer for claim in failed if claim.kind == "synchronised"}
        for claim in failed:
            if claim.kind in SOURCES:
                freedoms[claim.layer] = freedoms[claim.layer].without(claim.kind)
            elif claim.kind in wired:
                wired[claim.kind] = wired[claim.kind].without({claim.layer})
        return replace(
            self,
            freedoms=freedoms,
            rectified={
                layer: replace(one, skipped=_UNSTEADY) if layer in unsteady else one
                for layer, one in self.rectified.items()
            },
            shared=self.shared.without(unsteady),
            wired={kind: shared for kind, shared in wired.items() if shared.owners},
            notes=(*self.notes, *(claim.withdrawal(change) for claim, change in failed.items())),
        )


def free_directions(
    network: ParameterMap,
    held: HeldBatches,
    *,
    tolerance: float,
    near: float = 0.0,
    positions: int | None = None,
    probes: int | None = None,
    seed: int = 0,
    progress: Progress,
) -> FreeDirections:
    """Find on some data what should be free; `withdrawing.withdrawn` keeps what is.

    Args:
        network: whose parameters they are of.
        held: the data.
        tolerance: singular values up to that share of the largest count as 0.
        near: share of points on which units of a near block may differ.
        positions: for the conditional kind, of each unit; None leaves it out.
        probes: random combinations of outputs in place of each; None is each.
        seed: of every random choice.
        progress: called as work is done.
    """
    grams = layer_grams(
        network.model, held, probes=probes, dtype=network.dtype, seed=seed, device=network.device, progress=progress
    )
    reasons = dict(grams.skipped)
    usable = []
    for gram in grams.layers:
        reason = why_not(network, gram.site)
        if reason is None:
            usable.append(gram)
        else:
            reasons[gram.layer] = reason
    live: Mapping[str, LiveNulls] = {}
    if positions is not None:
        live = live_nulls(
            network,
            held,
            usable,
            positions=positions,
            tolerance=tolerance,
            probes=probes,
            seed=seed,
            progress=progress,
        )
    freedoms = {gram.layer: _freedom(network, gram, live.get(gram.layer), tolerance) for gram in usable}
    rectified = synchrony(network.model, network.cast_batches(held), tolerance=near, seed=seed, progress=progress)
    shared, missing = _shared(network, rectified)
    wired, beside = _wired(network, network.cast(next(iter(held))[0][:2]), grams.layers)
    return FreeDirections(
        grams=grams,
        freedoms=freedoms,
        reasons=reasons,
        live=live,
        rectified={one.layer: one for one in rectified},
        shared=shared,
        wired=wired,
        notes=(*(() if missing is None else (missing,)), *beside, *undecided_notes(rectified)),
    )


def _freedom(network: ParameterMap, gram: LayerGram, live: LiveNulls | None, tolerance: float) -> LayerFreedom:
    inputs, outputs = (
        tuple(torch.from_numpy(np.ascontiguousarray(one)).to(network.device) for one in found)
        for found in (gram.free_inputs(tolerance), gram.free_outputs(tolerance))
    )
    conditional = None if live is None else live.vectors
    return LayerFreedom(gram.layer, weight_index(network, gram.site), inputs, outputs, conditional)


def _shared(network: ParameterMap, rectified: Sequence[Synchrony]) -> tuple[Shared, str | None]:
    """The directions of synchronised units; of single units alone where there are too many."""
    measured = [one for one in rectified if one.skipped is None]
    is_all = sum(one.directions for one in measured) <= BLOCKS
    parts: list[tuple[str, sparse.csr_array]] = []
    for one in measured:
        blocks = one.blocks if is_all else [np.array([unit]) for unit in range(one.rectified.units)]
        for block in blocks:
            found = block_directions(network.parameters, one.rectified, block, network.model)
            parts.append((one.layer, sparse_rows(list(found), network)))
    note = f"synchronised units free more than {BLOCKS} directions: only the scalings of single units are in the union"
    return Shared.of(parts, network.size), None if is_all else note


def _wired(
    network: ParameterMap, inputs: torch.Tensor, grams: Sequence[LayerGram]
) -> tuple[dict[Wired, Shared], tuple[str, ...]]:
    """The directions of heads, of layers that read each other, and of norms, and what was left out of these."""
    with network.ready(), torch.no_grad():
        pairs = [pair for pair in head_pairs(network.model, inputs) if pair.skipped is None]
        found = streams(network.model, inputs)
    counts: dict[Wired, int] = {"heads": sum(pair.directions + pair.shifts for pair in pairs)}
    counts["linear"] = sum(one.directions for one in found.streams if one.kind == "linear")
    counts["norms"] = sum(one.directions for one in found.streams if one.kind == "norm")
    parts: dict[Wired, list[tuple[str, sparse.csr_array]]] = {"heads": [], "linear": [], "norms": []}
    many = [source for source, count in counts.items() if count > BLOCKS]
    notes = [f"{WORDS[source]} free more than {BLOCKS} directions: they are not counted" for source in many]
    for pair in pairs if counts["heads"] <= BLOCKS else ():
        directions = [*head_directions(network.parameters, pair), *shift_directions(network.parameters, pair)]
        owner = _owner(pair.first.weight, int(pair.first.units[0]), grams) or pair.layer
        parts["heads"].append((owner, sparse_rows(directions, network)))
    several: dict[tuple[Wired, str], list[Changes]] = {}
    for source, weight, unit, free in _streamed(network, found, frozenset(many)):
        owner = _owner(weight, unit, grams) or weight.rpartition(".")[0]
        several.setdefault((source, owner), []).append(free)
    for (source, owner), together in several.items():
        parts[source].append((owner, rows_of_changes(together, network)))
    joined = {source: Shared.of(own, network.size) for source, own in parts.items() if own}
    return joined, tuple(notes)


def _streamed(
    network: ParameterMap, found: Streams, many: frozenset[Wired]
) -> Iterator[tuple[Wired, str, int, Changes]]:
    """The directions of all streams, each with its kind and the unit that it is about, but for kinds of too many."""
    moving = Moving(network.parameters, dict(network.model.named_buffers()), found)
    for stream in found.streams:
        source: Wired = "norms" if stream.kind == "norm" else "linear"
        for free in stream_changes(moving, stream) if source not in many else ():
            yield source, stream.weight, stream.unit, free
    layers = found.wiring.places.keys() - found.wiring.norms
    for weight, free in Constants(moving).changes():
        readers = (end.reader for end in found.wiring.ends if weight in end.constants and end.reader in layers)
        owner = weight if weight in layers else next(readers, None) or weight
        source = "norms" if free.keys() & found.wiring.norms else "linear"
        if source not in many:
            yield source, owner, 0, free


def _owner(weight: str, first: int, grams: Sequence[LayerGram]) -> str | None:
    """The layer that has a unit, by the parameter that it is made by."""
    for gram in grams:
        rows = gram.site.rows or (0, first + 1)
        if gram.weight == weight and rows[0] <= first < rows[1]:
            return gram.layer
    return None
