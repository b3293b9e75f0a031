"""Activation matching: permutations that bring together units that do the same on data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.anatomy.symmetries.layout import Layout, factors_of, order_of
from weightatlas.connectivity.aligning.assigning import assigned
from weightatlas.connectivity.aligning.blocks import Block, blocks_of, moving
from weightatlas.connectivity.aligning.unit_correlations import carriers_of, unit_correlations
from weightatlas.connectivity.aligning.weight_matching import ascend

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from weightatlas.anatomy.symmetry import Symmetries
    from weightatlas.connectivity.aligning.blocks import Permutations
    from weightatlas.connectivity.aligning.grams import Grams
    from weightatlas.connectivity.aligning.states import State
    from weightatlas.evaluation.batches import Batch

SMALLEST_GAIN: Final = 1e-9
"""What a step must gain in the sum of correlations, as a share of how many there are: below that float64 rounds."""


@dataclass(frozen=True, slots=True, eq=False)
class Correlated:
    """The units of a layer, and how they go with another network's.

    Attributes:
        layout: of the units.
        matrix: float64 (units of the first network, units of the second).
    """

    layout: Layout
    matrix: torch.Tensor

    @property
    def groups(self) -> frozenset[str]:
        """The groups that move units."""
        return frozenset(factor.group for factor in factors_of(self.layout) if factor.group is not None)

    def value(self, permutations: Permutations) -> float:
        """The sum of the correlations of matched units."""
        order = torch.from_numpy(order_of(self.layout, permutations))
        return float(self.matrix.gather(1, order[:, None]).sum())

    def gram(self, group: str, size: int, permutations: Permutations) -> torch.Tensor:
        """What each entry of a group gets where it is matched to each other, the other groups permuted."""
        made = torch.zeros(size, size, dtype=self.matrix.dtype)
        for block in blocks_of({"": (self.layout,)}):
            for axis in block.axes_of(group):
                made += _traced(self.matrix, block, axis, permutations)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class ActivationMatching:
    """What matching by activations came to.

    Attributes:
        permutations: of all groups.
        sweeps: how many times it went through the groups.
        correlation: mean over all layers' units of the correlation with the unit they are matched to; NaN without any.
    """

    permutations: dict[str, NDArray[np.int64]]
    sweeps: int
    correlation: float


def correlated_layers(
    model: nn.Module, symmetries: Symmetries, a: State, b: State, data: Iterable[Batch], *, seed: int
) -> list[Correlated]:
    """The layers whose units groups move, and how these go together in two networks on data."""
    carriers = carriers_of(model, symmetries)
    matrices = unit_correlations(model, a, b, carriers, data, seed=seed)
    return [Correlated(one.layout, matrices[one.path]) for one in carriers if one.path in matrices]


def match_activations(
    layers: Sequence[Correlated], grams: Grams, start: Permutations, sweeps: int, generator: np.random.Generator
) -> ActivationMatching:
    """Solve group after group by the sum of the correlations of matched units, until none gains.

    Where a layer's units are the entries of one group this is one assignment, and exact. Where they are combinations
    (heads × width) the other groups are fixed in turn, as they were at the start. Groups without a layer are then
    matched by weights, the others fixed.

    Args:
        layers: units, and how they go together.
        grams: of the weights.
        start: permutations of all groups.
        sweeps: at most so many times through the groups.
        generator: draws the order of each sweep.
    """
    permutations = dict(start)
    groups = sorted(frozenset().union(*(layer.groups for layer in layers)))
    sweep, gained = 0, True
    while gained and sweep < sweeps:
        gained = False
        for number in generator.permutation(len(groups)):
            gained |= _improve(layers, groups[number], permutations)
        sweep += 1
    left = [name for name in grams.sizes if name not in groups]
    permutations = ascend(grams, permutations, sweeps=sweeps, generator=generator, groups=left).permutations
    units = sum(layer.layout.size for layer in layers)
    total = sum(layer.value(permutations) for layer in layers)
    return ActivationMatching(permutations, sweep, total / units if units else float("nan"))


def _improve(layers: Sequence[Correlated], group: str, permutations: dict[str, NDArray[np.int64]]) -> bool:
    """Give a group its best permutation, if that gains."""
    those = [layer for layer in layers if group in layer.groups]
    size = len(permutations[group])
    gram = sum((layer.gram(group, size, permutations) for layer in those), torch.zeros(size, size).double())
    changed = {**permutations, group: assigned(gram)}
    gain = sum(layer.value(changed) - layer.value(permutations) for layer in those)
    if gain <= SMALLEST_GAIN * size:
        return False
    permutations[group] = changed[group]
    return True


def _traced(matrix: torch.Tensor, block: Block, axis: int, permutations: Permutations) -> torch.Tensor:
    """The sum over the block's other factors of what stands where these are matched."""
    count = len(block.factors)
    view = block.view(block.view(matrix).movedim(-1, 0))  # an axis a factor of the second network, then of the first
    for number, factor in enumerate(block.factors):
        order = None if number == axis else moving(factor, permutations)
        if order is not None:
            view = view.index_select(number, torch.from_numpy(order))
    theirs = [count if number == axis else number for number in range(count)]
    found: torch.Tensor = torch.einsum(view, [*theirs, *range(count)], [axis, count])
    return found
