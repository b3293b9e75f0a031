"""The free directions of a network, kind by kind, as vectors that can be followed."""

from __future__ import annotations

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
from weightatlas.degeneracy.ranking.checking import changes
from weightatlas.degeneracy.ranking.live_activations import LiveNulls, live_nulls
from weightatlas.degeneracy.ranking.weight_places import weight_index, why_not
from weightatlas.degeneracy.streams import Moving, Streams, stream_changes, streams
from weightatlas.degeneracy.synchrony import Synchrony, synchrony
from weightatlas.degeneracy.union import rank_of_rows, rows_of_changes, sparse_rows
from weightatlas.degeneracy.wiring.constants import Constants
from weightatlas.evaluation.held_batches import HeldBatches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from weightatlas.degeneracy.layer_gram import LayerGram
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.degeneracy.streams import Changes
    from weightatlas.progress import Progress

FIRST: Final = 64
"""Examples that tell which conditional directions are not free before all data are gone through."""

FREE: Final = 1e-8
"""A direction counts as free if outputs change along it by at most that share of what they do along a random one."""

BLOCKS: Final = 8192
"""Directions of synchronised units in the whole network that are written out; more are counted, and not followed."""


ROUNDING: Final = 1e4
"""Of the type of computation: what outputs may change along a free direction."""

Wired = Literal["heads", "linear", "norms"]
WIRED: Final[tuple[Wired, ...]] = ("heads", "linear", "norms")
"""Kinds that follow from how layers are wired, whatever the data."""

_WORDS: Final[Mapping[Wired, str]] = {
    "heads": "bases of heads",
    "linear": "bases that linear maps alone share",
    "norms": "scales and shifts of norms",
}


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
        places = [place for place, owner in enumerate(self.owners) if layer in (None, owner)]
        return rank_of_rows(self.rows[places]) if places else 0


@dataclass(frozen=True, slots=True, eq=False)
class FreeDirections:
    """All of them.

    Attributes:
        grams: of the layers that could be followed.
        freedoms: of those whose weights are trained parameters, by layer.
        reasons: why others are not among them, by layer.
        live: the null vectors that the conditional kind is from, by layer, with how many half of the positions give.
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
        """Directions of a kind in all layers; None where it was measured in none."""
        found = [count for one in self.freedoms.values() if (count := one.count(source)) is not None]
        return sum(found) if found else None

    def synchronised(self, layer: str | None = None) -> int | None:
        """The rank of those of synchronised units, in a layer or the whole network; None where nothing is rectified."""
        return self.shared.rank(layer) if self._measured(layer) else None

    def rescalings(self, layer: str | None = None) -> int | None:
        """Scalings of single units, which are independent but for units that do nothing; None as `synchronised`."""
        measured = self._measured(layer)
        return sum(one.rescalings for one in measured) if measured else None

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
                if freedom.count(source):
                    yield from freedom.vectors(source, network.size)
        if self.others.shape[0]:
            yield torch.from_numpy(self.others.toarray()).to(network.device)

    def combined(self, network: ParameterMap, generator: torch.Generator) -> torch.Tensor:
        """Random combinations of all directions of each kind in the whole network, of length 1, (kinds, parameters)."""
        found = []
        for source in SOURCES:
            row = torch.zeros(network.size, dtype=torch.float64, device=network.device)
            for freedom in self.freedoms.values():
                matrix = freedom.combined(source, generator)
                if matrix is not None:
                    row[freedom.index] = matrix
            found.append(row)
        for shared in (self.shared, *self.wired.values()):
            if shared.owners:
                weights = torch.randn(len(shared.owners), generator=generator, dtype=torch.float64).numpy()
                found.append(torch.from_numpy(np.asarray(shared.rows.T @ weights)).to(network.device))
        return torch.stack([row / row.norm() for row in found if row.norm() > 0] or [found[0][:0]])


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
    """Find them on some data.

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
    freedoms, notes = _proved(network, held, freedoms, live, seed)
    rectified = synchrony(network.model, network.cast_batches(held), tolerance=near, seed=seed, progress=progress)
    shared, missing = _shared(network, rectified)
    wired, beside = _wired(network, network.cast(next(iter(held))[0][:2]), grams.layers, seed)
    return FreeDirections(
        grams=grams,
        freedoms=freedoms,
        reasons=reasons,
        live=live,
        rectified={one.layer: one for one in rectified},
        shared=shared,
        wired=wired,
        notes=(*notes, *(() if missing is None else (missing,)), *beside),
    )


def _freedom(network: ParameterMap, gram: LayerGram, live: LiveNulls | None, tolerance: float) -> LayerFreedom:
    inputs, outputs = (
        tuple(torch.from_numpy(np.ascontiguousarray(one)).to(network.device) for one in found)
        for found in (gram.free_inputs(tolerance), gram.free_outputs(tolerance))
    )
    conditional = None if live is None else live.vectors
    return LayerFreedom(gram.layer, weight_index(network, gram.site), inputs, outputs, conditional)


def _proved(
    network: ParameterMap,
    held: HeldBatches,
    freedoms: Mapping[str, LayerFreedom],
    live: Mapping[str, LiveNulls],
    seed: int,
) -> tuple[dict[str, LayerFreedom], tuple[str, ...]]:
    """Drop the conditional directions of a layer that a sample of positions gave and that are not free on all data.

    A random combination of those that activations and gradients do not free already is followed, beside a random
    direction of the same weights: if one of them is not free, the combination is not, with probability 1. The first
    examples tell which layers are left; these are followed on all data at once, and one by one only if that moves
    the outputs.
    """
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, torch.Tensor] = {}
    others = []
    for layer, freedom in freedoms.items():
        beyond = freedom.conditional_beyond() if layer in live and live[layer].is_sample else ()
        if len(beyond):
            mixing = torch.randn(len(beyond), generator=generator, dtype=torch.float64).to(network.device)
            rows[layer] = _placed(network, freedom, torch.tensordot(mixing, beyond, 1))
            others.append(_placed(network, freedom, torch.randn(freedom.index.shape, generator=generator)))
    if not rows:
        return dict(freedoms), ()
    first = HeldBatches(held, examples=FIRST, device=network.device)
    both = changes(network, first, torch.stack([*rows.values(), *others]))
    steep = dict(zip(rows, FREE * both[len(rows) :], strict=True))
    left = [layer for layer, moved in zip(rows, both, strict=False) if moved <= steep[layer]]
    if left:
        scale = (held.examples / first.examples) ** 0.5
        together = changes(network, held, torch.stack([rows[layer] for layer in left]).sum(0, keepdim=True))
        if together[0] > scale * min(steep[layer] for layer in left):
            alone = changes(network, held, torch.stack([rows[layer] for layer in left]))
            left = [layer for layer, moved in zip(left, alone, strict=True) if moved <= scale * steep[layer]]
    dropped = [layer for layer in rows if layer not in left]
    kept = {layer: replace(one, conditional=None) if layer in dropped else one for layer, one in freedoms.items()}
    note = "{}: conditional directions of the sampled positions are not free on all data"
    return kept, tuple(note.format(layer) for layer in dropped)


def _placed(network: ParameterMap, freedom: LayerFreedom, matrix: torch.Tensor) -> torch.Tensor:
    """A direction of one layer's weights, of length 1, over all parameters."""
    row = torch.zeros(network.size, dtype=network.dtype, device=network.device)
    row[freedom.index] = (matrix / matrix.norm()).to(row)
    return row


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
    network: ParameterMap, inputs: torch.Tensor, grams: Sequence[LayerGram], seed: int
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
    notes = [f"{_WORDS[source]} free more than {BLOCKS} directions: they are not counted" for source in many]
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
    for source in [one for one in joined if one != "heads" and not _is_free(network, inputs, joined[one], seed)]:
        del joined[source]
        notes.append(f"{_WORDS[source]} turn out not to be free: something that was not seen uses them")
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


def _is_free(network: ParameterMap, inputs: torch.Tensor, shared: Shared, seed: int) -> bool:
    """Whether a random combination of directions, followed on some inputs, is free."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(len(shared.owners), generator=generator, dtype=torch.float64).numpy()
    row = torch.from_numpy(np.asarray(shared.rows.T @ weights)).to(network.device, network.dtype)
    random = torch.randn(network.size, generator=generator, dtype=torch.float64).to(row)
    if not row.norm() > 0:
        return True
    both = torch.stack([row / row.norm(), random / random.norm()])
    moved = changes(network, [(inputs, torch.zeros(len(inputs)))], both)
    return bool(moved[0] <= max(FREE, ROUNDING * torch.finfo(network.dtype).eps) * moved[1])


def _owner(weight: str, first: int, grams: Sequence[LayerGram]) -> str | None:
    """The layer that has a unit, by the parameter that it is made by."""
    for gram in grams:
        rows = gram.site.rows or (0, first + 1)
        if gram.weight == weight and rows[0] <= first < rows[1]:
            return gram.layer
    return None
