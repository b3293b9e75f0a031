"""What a layer is given where one of its units has a gradient, and what these activations have no part along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.degeneracy.accumulating.passes import Passes
from weightatlas.degeneracy.accumulating.unfolding import activation_columns, gradient_columns
from weightatlas.degeneracy.ranking.proving import MARGIN, proved_null, proved_rank
from weightatlas.degeneracy.spectra import EPS_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.sites import Part
    from weightatlas.degeneracy.accumulating.unfolding import Form
    from weightatlas.degeneracy.layer_gram import LayerGram
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.evaluation.held_batches import HeldBatches
    from weightatlas.progress import Progress

CLEAR: Final = 1e-8
"""Share of a Gram matrix's largest eigenvalue above which its smallest is not 0 without doubt; else rows decide."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveNulls:
    """The null vectors of one layer's units.

    Attributes:
        vectors: for each unit of all groups in order, orthonormal columns (width, any number): what no activation has a
            part along, of those at positions where the unit has a gradient.
        half: how many there would be, of all units, by half of the sampled positions; of the same number more
            positions would hardly find fewer.
        positions: how many were sampled.
        is_sample: whether not all positions were looked at.
    """

    vectors: tuple[torch.Tensor, ...]
    half: int
    positions: int
    is_sample: bool


def live_nulls(
    network: ParameterMap,
    held: HeldBatches,
    layers: Sequence[LayerGram],
    *,
    positions: int,
    tolerance: float,
    probes: int | None = None,
    seed: int = 0,
    progress: Progress,
) -> dict[str, LiveNulls]:
    """Look at the activations of some layers at random positions, the same for all units of a layer.

    A unit has a gradient at a position where that of some output (or probe) is not exactly 0: paths through units that
    are off give exact zeros.

    Args:
        network: that runs.
        held: the data.
        layers: of which; their Gram matrices say how many positions there are.
        positions: sampled twice as many of each layer, all where there are no more.
        tolerance: singular values up to that share of a unit's largest count as 0.
        probes: random combinations of outputs; None is every output.
        seed: of the sample.
        progress: called with examples done.
    """
    chosen: dict[str, _Sample] = {}
    for number, gram in enumerate(layers):
        if gram.kind != "embedding":
            drawn = np.random.default_rng([seed, number]).permutation(gram.positions)[: 2 * positions]
            chosen[gram.layer] = _Sample(gram, drawn)
    passes = Passes(network.model, held, probes=probes, dtype=network.dtype, seed=seed, device=network.device)

    def on_activations(part: Part, found: Multiplied) -> None:
        chosen[part.site.layer].take_activations(part, found)

    def on_gradients(part: Part, form: Form, gradients: torch.Tensor) -> None:
        chosen[part.site.layer].take_gradients(part, form, gradients)

    passes.run(
        on_activations,
        on_gradients,
        progress=progress,
        label="activations where units are live",
        wants=lambda site: site.layer in chosen,
    )
    usable = {layer: sample for layer, sample in chosen.items() if sample.is_paired}
    found: dict[str, LiveNulls] = {}
    for done, (layer, sample) in enumerate(usable.items(), start=1):
        found[layer] = sample.nulls(tolerance)
        progress(done, len(usable), "null vectors of each unit")
    return found


@dataclass(slots=True, eq=False)
class _Sample:
    """The activations of one layer at some positions, and which units are live there.

    Attributes:
        is_paired: whether gradients are known to go with activations. Those of what a layer gives for all examples at
            once are not, as they come from runs of one example.
    """

    gram: LayerGram
    drawn: npt.NDArray[np.int64]
    kept: list[torch.Tensor] = field(default_factory=list)
    live: list[torch.Tensor] = field(default_factory=list)
    places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    calls: dict[int, tuple[Part, int]] = field(default_factory=dict)
    seen: int = 0
    is_paired: bool = True

    def take_activations(self, part: Part, found: Multiplied) -> None:
        """Keep what the layer is given at the positions of a call that are in the sample."""
        form, inputs = found.form, found.inputs
        self.calls[id(part)] = part, len(self.kept)  # the part is kept, so that no other gets its number
        wanted = np.sort(self.drawn)
        first, parts = self.seen, []
        for columns in activation_columns(form, inputs.detach(), constant=self.gram.bias is not None):
            here = wanted[(wanted >= self.seen) & (wanted < self.seen + columns.shape[2])] - self.seen
            parts.append(columns[:, :, torch.from_numpy(here).to(columns.device)].clone())
            self.seen += columns.shape[2]
        here = wanted[(wanted >= first) & (wanted < self.seen)]
        self.places.append(here - first)
        self.kept.append(torch.cat(parts, dim=2))
        self.live.append(torch.zeros(self.gram.groups, self.gram.units, len(here), dtype=torch.bool).to(inputs.device))

    def take_gradients(self, part: Part, form: Form, gradients: torch.Tensor) -> None:
        """Note where a gradient of the same call is not 0."""
        call = self.calls.get(id(part))
        if call is None:
            self.is_paired = False
            return
        columns = torch.cat([each.clone() for each in gradient_columns(form, gradients)], dim=2)
        self.live[call[1]] |= columns[:, :, torch.from_numpy(self.places[call[1]]).to(columns.device)] != 0

    def nulls(self, tolerance: float) -> LiveNulls:
        """The null vectors of each unit, and how many there would be by the first half of the draw."""
        rows, live = torch.cat(self.kept, dim=2).mT, torch.cat(self.live, dim=2)
        ranks = np.empty(len(self.drawn), dtype=np.int64)
        ranks[np.argsort(self.drawn, kind="stable")] = np.arange(len(self.drawn))  # place in the sample, by draw
        first = torch.zeros(len(self.drawn), dtype=torch.bool, device=rows.device)
        first[torch.from_numpy(ranks[: -(-len(ranks) // 2)]).to(rows.device)] = True
        is_sample = len(self.drawn) < self.gram.positions
        vectors, half = [], 0
        for group in range(self.gram.groups):
            for unit in range(self.gram.units):
                on = live[group, unit]
                own = _Rows(rows[group, on & first], rows[group, on & ~first], tolerance)
                vectors.append(own.null())
                half += own.half() if is_sample else 0
        total = sum(found.shape[1] for found in vectors)
        return LiveNulls(tuple(vectors), half if is_sample else total, len(self.drawn), is_sample)


class _Rows:
    """The activations of one unit in two halves, and what they have no part along.

    Args:
        first, others: float64 (any number, width).
        tolerance: singular values up to that share of the largest count as 0.
    """

    def __init__(self, first: torch.Tensor, others: torch.Tensor, tolerance: float) -> None:
        self._first, self._others = first, others
        self._width = first.shape[1]
        self._tolerance = max(tolerance, EPS_UNITS * torch.finfo(first.dtype).eps)
        self._is_long = len(first) + len(others) > 2 * self._width
        self._gram = first.mT @ first if self._is_long else None

    def null(self) -> torch.Tensor:
        """Orthonormal columns that none of them has a part along, (width, any number)."""
        rows = torch.cat([self._first, self._others])
        if not rows.any():
            return torch.eye(self._width, dtype=rows.dtype, device=rows.device)
        if self._gram is not None:
            found = _null_of_many(rows, self._gram + self._others.mT @ self._others, self._tolerance)
            if found is not None:
                return found
            rows = torch.linalg.qr(rows, mode="r").R
        found = proved_null(rows, self._tolerance)
        if found is not None:
            return found
        _, values, right = torch.linalg.svd(rows, full_matrices=True)
        vectors: torch.Tensor = right[int((values > self._tolerance * values[0]).sum()) :].mT
        return vectors

    def half(self) -> int:
        """How many such columns there would be by the first half."""
        rows = self._first
        if not rows.any():
            return self._width
        if self._gram is not None and len(rows) > self._width:
            many = _null_of_many(rows, self._gram, self._tolerance)
            if many is not None:
                return many.shape[1]
        found = proved_rank(rows, self._tolerance)
        if found is not None:
            return self._width - found[0]
        values = torch.linalg.svdvals(rows)
        return self._width - int((values > self._tolerance * values[0]).sum())


def _null_of_many(rows: torch.Tensor, gram: torch.Tensor, tolerance: float) -> torch.Tensor | None:
    r"""The null vectors of many rows F by their Gram matrix, where there is a wide gap; None where there is not.

    Eigenvalues are above `CLEAR` of the largest, or belong to \(V\) with \(\|F V\|\) far below the tolerance: both
    ranks are then proved by the min-max theorem. V leans towards the other eigenvectors U by the rounding of the Gram
    matrix; \(V - U \Lambda^{-1} U^\top F^\top (F V)\) does so by that of F alone.
    """
    if _is_clear(gram):
        return rows.new_zeros(rows.shape[1], 0)
    values, vectors = torch.linalg.eigh(gram)
    few = int((values <= CLEAR * values[-1]).sum())
    leaning, others = vectors[:, :few], vectors[:, few:]
    image = rows @ leaning
    if float(image.norm()) * MARGIN > tolerance * float(values[-1].sqrt()):
        return None
    leaning = leaning - others @ ((others.mT @ (rows.mT @ image)) / values[few:, None])
    basis: torch.Tensor = torch.linalg.qr(leaning).Q
    return basis


def _is_clear(gram: torch.Tensor) -> bool:
    """Whether a Gram matrix has no eigenvalue that may be 0."""
    values = torch.linalg.eigvalsh(gram)
    return bool(values[0] > CLEAR * values[-1])
