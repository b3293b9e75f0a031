"""What a layer is given where one of its units has a gradient, and what these activations have no part along."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.degeneracy.accumulating.passes import Passes
from weightatlas.degeneracy.accumulating.unfolding import activation_columns, gradient_columns
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
        chosen[part.site.layer].take_activations(found.form, found.inputs)

    def on_gradients(part: Part, form: Form, gradients: torch.Tensor) -> None:
        chosen[part.site.layer].take_gradients(form, gradients)

    passes.run(
        on_activations,
        on_gradients,
        progress=progress,
        label="activations where units are live",
        wants=lambda site: site.layer in chosen,
    )
    return {
        layer: sample.nulls(tolerance) for layer, sample in chosen.items() if sample.is_called_once(passes.examples)
    }


@dataclass(slots=True, eq=False)
class _Sample:
    """The activations of one layer at some positions, and which units are live there."""

    gram: LayerGram
    drawn: npt.NDArray[np.int64]
    kept: list[torch.Tensor] = field(default_factory=list)
    live: list[torch.Tensor] = field(default_factory=list)
    places: list[npt.NDArray[np.int64]] = field(default_factory=list)
    examples: int = 0
    seen: int = 0

    def take_activations(self, form: Form, inputs: torch.Tensor) -> None:
        """Keep what the layer is given at the positions of a call that are in the sample."""
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
        self.examples += len(inputs)

    def take_gradients(self, form: Form, gradients: torch.Tensor) -> None:
        """Note where a gradient of the last call is not 0."""
        columns = torch.cat([part.clone() for part in gradient_columns(form, gradients)], dim=2)
        self.live[-1] |= columns[:, :, torch.from_numpy(self.places[-1]).to(columns.device)] != 0

    def is_called_once(self, examples: int) -> bool:
        """Whether one run of the network called the layer once: else gradients are not known to go with activations."""
        return self.examples == examples

    def nulls(self, tolerance: float) -> LiveNulls:
        """The null vectors of each unit, and how many there would be by the first half of the draw."""
        rows, live = torch.cat(self.kept, dim=2).mT, torch.cat(self.live, dim=2)
        ranks = np.empty(len(self.drawn), dtype=np.int64)
        ranks[np.argsort(self.drawn, kind="stable")] = np.arange(len(self.drawn))  # place in the sample, by draw
        first = torch.zeros(len(self.drawn), dtype=torch.bool, device=rows.device)
        first[torch.from_numpy(ranks[: -(-len(ranks) // 2)]).to(rows.device)] = True
        vectors, half = [], 0
        for group in range(self.gram.groups):
            for unit in range(self.gram.units):
                on = live[group, unit]
                vectors.append(_null(rows[group, on], tolerance))
                half += (
                    _null(rows[group, on & first], tolerance).shape[1] if vectors[-1].shape[1] < rows.shape[2] else 0
                )
        is_sample = len(self.drawn) < self.gram.positions
        total = sum(found.shape[1] for found in vectors)
        return LiveNulls(tuple(vectors), half if is_sample else total, len(self.drawn), is_sample)


def _null(rows: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Orthonormal columns that rows (any number, width) have no part along."""
    width = rows.shape[1]
    if not len(rows) or not rows.any():
        return torch.eye(width, dtype=torch.float64, device=rows.device)
    if len(rows) > 2 * width:
        values = torch.linalg.eigvalsh(rows.mT @ rows)
        if values[0] > CLEAR * values[-1]:
            return rows.new_zeros(width, 0)
        rows = torch.linalg.qr(rows, mode="r").R
    _, values, right = torch.linalg.svd(rows, full_matrices=True)
    least = max(tolerance, EPS_UNITS * torch.finfo(rows.dtype).eps) * values[0]
    found: torch.Tensor = right[int((values > least).sum()) :].mT
    return found
