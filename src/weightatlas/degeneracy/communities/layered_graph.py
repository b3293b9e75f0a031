"""A weighted graph whose nodes stand in columns, with edges between pairs of columns only."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

Expected = Literal["layered", "newman"]
"""What modularity compares with: chance within each pair of columns, or over the whole graph."""


class NullModel(NamedTuple):
    r"""The weight that chance puts between two nodes.

    \(P_{ij} = \sum_p (o_{ip} t_{jp} + t_{ip} o_{jp}) / W_p\).

    Attributes:
        sources: float64 (nodes, terms), \(o_{ip}\).
        targets: float64 (nodes, terms), \(t_{ip}\).
        totals: float64 (terms,), \(W_p > 0\).
    """

    sources: Array
    targets: Array
    totals: Array


@dataclass(frozen=True, slots=True, eq=False)
class LayeredGraph:
    """Columns of nodes and the weights between pairs of columns.

    Attributes:
        sizes: nodes of each column; nodes are numbered column by column.
        pairs: for each block the number of its column of sources and of targets.
        blocks: float64 (sources, targets) each, not below 0; 0 is no edge.
    """

    sizes: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    blocks: tuple[Array, ...]

    @property
    def offsets(self) -> Labels:
        """The number of each column's first node, and that of nodes."""
        return np.cumsum([0, *self.sizes], dtype=np.int64)

    @property
    def total(self) -> float:
        """The weight of all edges."""
        return float(sum(block.sum() for block in self.blocks))

    def adjacency(self) -> sparse.csr_matrix:
        """Symmetric weights of all nodes, float64, without explicit zeros."""
        starts = self.offsets
        found = [(np.nonzero(block), block, pair) for block, pair in zip(self.blocks, self.pairs, strict=True)]
        nothing = np.zeros(0, dtype=np.int64)
        rows = np.concatenate([nothing, *(places[0] + starts[pair[0]] for places, _, pair in found)])
        columns = np.concatenate([nothing, *(places[1] + starts[pair[1]] for places, _, pair in found)])
        weights = np.concatenate([np.zeros(0), *(block[places] for places, block, _ in found)])
        size = int(starts[-1])
        half = sparse.coo_matrix((weights, (rows, columns)), shape=(size, size))
        return (half + half.T).tocsr()

    def null_model(self, expected: Expected = "layered") -> NullModel:
        r"""What chance makes of the same strengths.

        "layered": within pair p, \(P_{ij} = s_i s_j / W_p\) with strengths counted in that pair alone (Barber's null
        model of bipartite graphs, pair by pair): what rewiring within pairs gives on average. "newman":
        \(P_{ij} = s_i s_j / 2 W\) whatever the columns, so that cutting a deep graph across its layers pays, too.
        """
        nodes, starts = int(self.offsets[-1]), self.offsets
        if expected == "newman":
            strengths = np.asarray(self.adjacency().sum(axis=1), dtype=np.float64).reshape(-1, 1)
            return NullModel(strengths / 2, strengths / 2, np.array([max(self.total, np.finfo(float).tiny)]))
        used = [place for place, block in enumerate(self.blocks) if block.any()]
        sources, targets = np.zeros((nodes, len(used))), np.zeros((nodes, len(used)))
        for term, place in enumerate(used):
            source, target = self.pairs[place]
            sources[starts[source] : starts[source + 1], term] = self.blocks[place].sum(axis=1)
            targets[starts[target] : starts[target + 1], term] = self.blocks[place].sum(axis=0)
        totals = np.array([self.blocks[place].sum() for place in used], dtype=np.float64)
        return NullModel(sources, targets, totals)


def modularity(
    graph: LayeredGraph, labels: Labels, *, resolution: float = 1.0, expected: Expected = "layered"
) -> float:
    r"""How much more weight lies inside of communities than chance would put there, as a share of all weight.

    \(Q = \frac{1}{W} \sum_{i < j} (w_{ij} - \gamma P_{ij}) [c_i = c_j]\), with \(P\) as in `LayeredGraph.null_model`
    (where a node may be joined to itself by chance, as usual for Newman's).

    Returns:
        At most 1; NaN for a graph without edges.

    Example:
        >>> graph = LayeredGraph((2, 2, 2), ((0, 1), (1, 2)), (np.eye(2), np.eye(2)))  # two threads side by side
        >>> modularity(graph, np.array([0, 1, 0, 1, 0, 1])), modularity(graph, np.zeros(6, dtype=np.int64))
        (0.5, 0.0)
    """
    if not graph.total:
        return float("nan")
    count = int(labels.max(initial=-1)) + 2
    inside = 0.0
    starts = graph.offsets
    for block, (source, target) in zip(graph.blocks, graph.pairs, strict=True):
        first = labels[starts[source] : starts[source + 1]]
        second = labels[starts[target] : starts[target + 1]]
        inside += float(block[first[:, None] == second[None, :]].sum())
    null = graph.null_model(expected)
    sums = [np.zeros((count, part.shape[1])) for part in (null.sources, null.targets)]
    np.add.at(sums[0], labels, null.sources)
    np.add.at(sums[1], labels, null.targets)
    by_chance = float((sums[0] * sums[1] / null.totals).sum())
    return (inside - resolution * by_chance) / graph.total


def in_order_of_size(labels: Labels) -> Labels:
    """The same communities, numbered from the largest; ties by first member. Below 0 stays so."""
    names, first, counts = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = np.full(int(names.max(initial=-1)) + 2, -1, dtype=np.int64)
    number[names[order]] = np.arange(len(names))
    return number[labels]


def graph_of(blocks: Sequence[npt.ArrayLike]) -> LayeredGraph:
    """A chain of columns, each block between one and the next.

    Raises:
        ValueError: blocks do not fit together, or a weight is below 0 or not finite.
    """
    arrays = [np.asarray(block, dtype=np.float64) for block in blocks]
    fits = all(first.shape[1] == second.shape[0] for first, second in itertools.pairwise(arrays))
    if not arrays or not fits or any(not (np.isfinite(block) & (block >= 0)).all() for block in arrays):
        message = "blocks must be (sources, targets), each as wide as the next is high, of finite weights from 0 on"
        raise ValueError(message)
    sizes = (arrays[0].shape[0], *(block.shape[1] for block in arrays))
    return LayeredGraph(sizes, tuple((place, place + 1) for place in range(len(arrays))), tuple(arrays))
