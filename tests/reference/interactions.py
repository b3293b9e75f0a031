"""Interactions, modularity and ablation the slow way: every example, direction and edge by itself."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from weightatlas.degeneracy.communities.layered_graph import LayeredGraph
    from weightatlas.degeneracy.point_basis import PointBasis

    Array = NDArray[np.float64]
    Part = Callable[[torch.Tensor], torch.Tensor]


def squared_edges(
    part: Part, values: torch.Tensor, source: PointBasis, target: PointBasis, alphas: list[tuple[float, float]]
) -> Array:
    """E of each pair of directions by its definition, for values (examples, positions, features)."""
    to_target = torch.from_numpy(target.to_basis)
    from_source, back = torch.from_numpy(source.to_basis), torch.from_numpy(source.from_basis)
    found = np.zeros((target.to_basis.shape[1], source.to_basis.shape[1]))
    for example in values:
        total = torch.zeros(())
        for alpha, weight in alphas:
            jacobian = torch.func.jacrev(lambda one: part(one[None])[0])(alpha * example)
            turned = torch.einsum("tosf,oi->tisf", jacobian, to_target[:-1])
            shown = example @ from_source[:-1] + from_source[-1]
            total = total + weight * torch.einsum("tisf,jf,sj->tij", turned, back[:, :-1], shown)
        found += (total**2).sum(0).detach().numpy()
    return found / (values.shape[0] * values.shape[1])


def with_edges(part: Part, values: torch.Tensor, source: PointBasis, target: PointBasis, mask: Array) -> torch.Tensor:
    """The later point's values with each direction computed by itself, values (examples, features)."""
    shown = source.represent(values)
    made = torch.ones(len(values), target.to_basis.shape[1], dtype=values.dtype)
    for direction in range(1, made.shape[1]):
        kept = shown * torch.from_numpy(mask[direction])
        made[:, direction] = target.represent(part(source.restore(kept)))[:, direction]
    return target.restore(made)


def modularity(graph: LayeredGraph, labels: NDArray[np.int64], *, resolution: float, layered: bool) -> float:
    """Q pair of nodes by pair of nodes."""
    adjacency = graph.adjacency().toarray()
    starts = graph.offsets
    total = adjacency.sum() / 2
    found = 0.0
    if not layered:
        strengths = adjacency.sum(1)
        for i, j in product(range(len(adjacency)), repeat=2):
            if labels[i] == labels[j]:
                found += (adjacency[i, j] - resolution * strengths[i] * strengths[j] / (2 * total)) / (2 * total)
        return float(found)
    for block, (first, second) in zip(graph.blocks, graph.pairs, strict=True):
        for i, j in product(range(block.shape[0]), range(block.shape[1])):
            if labels[starts[first] + i] == labels[starts[second] + j]:
                expected = block[i].sum() * block[:, j].sum() / block.sum()
                found += (block[i, j] - resolution * expected) / total
    return float(found)


def partitions(count: int) -> Iterator[NDArray[np.int64]]:
    """All ways to put nodes into communities."""

    def extended(labels: list[int]) -> Iterator[list[int]]:
        if len(labels) == count:
            yield labels
            return
        for label in range(max(labels, default=-1) + 2):
            yield from extended([*labels, label])

    for labels in extended([]):
        yield np.array(labels, dtype=np.int64)
