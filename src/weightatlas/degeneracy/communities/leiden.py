"""The Leiden algorithm for graphs in layers: communities that are connected, of as high a modularity as it finds.

Written here, and not taken from scikit-network, because its `Leiden` (0.33) may run for ever (its issue 592), draws
from C's global `rand` so that one seed gives several answers, and knows no null model of layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from weightatlas.degeneracy.communities.layered_graph import NullModel, in_order_of_size, modularity
from weightatlas.degeneracy.communities.moving import LEAST_GAIN, Flat, move, refined_parts

if TYPE_CHECKING:
    from weightatlas.degeneracy.communities.layered_graph import Expected, Labels, LayeredGraph

ROUNDS: Final = 10
"""Of the whole algorithm, each from where the last one ended, as long as modularity rises."""


def leiden(graph: LayeredGraph, *, resolution: float = 1.0, expected: Expected = "layered", seed: int = 0) -> Labels:
    """Find communities of high modularity.

    Rounds of three phases: nodes move where modularity rises most; each community is refined into connected parts;
    the parts become the nodes of a smaller graph. A community that ends up in pieces is taken apart.

    Args:
        graph: the graph.
        resolution: above 1 gives more and smaller communities.
        expected: what chance would do, as in `LayeredGraph.null_model`.
        seed: of the order of nodes and of refinement.

    Returns:
        int64 (nodes,): the number of each node's community, 0 being the largest; -1 for nodes without edges.

    **Source:** Traag, Waltman and van Eck, *From Louvain to Leiden: guaranteeing well-connected communities* (2019).
    The null model by pairs of layers is Barber's (2007) for each. Randomness is relative to the node's own weight, so
    that it does not depend on the size of the graph.

    Example:
        >>> from weightatlas.degeneracy.communities.layered_graph import graph_of
        >>> two = np.kron(np.eye(2), np.ones((3, 3)))  # two blocks, three columns
        >>> leiden(graph_of([two, two])).tolist()
        [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    """
    adjacency = graph.adjacency()
    joined = np.flatnonzero(np.diff(adjacency.indptr))
    labels = np.full(adjacency.shape[0], -1, dtype=np.int64)
    if not joined.size:
        return labels
    within = (adjacency[joined][:, joined] / graph.total).tocsr()
    null = graph.null_model(expected)
    scaled = NullModel(
        null.sources[joined] / graph.total, null.targets[joined] / graph.total, null.totals / graph.total
    )
    generator = np.random.default_rng(seed)
    found = np.arange(len(joined), dtype=np.int64)
    best = -np.inf
    for _ in range(ROUNDS):
        found = _connected(within, _one_round(within, scaled, found, resolution, generator))
        labels[joined] = found
        reached = modularity(graph, labels, resolution=resolution, expected=expected)
        if reached <= best + LEAST_GAIN:
            break
        best = reached
    return in_order_of_size(labels)


def _one_round(
    adjacency: sparse.csr_matrix, null: NullModel, labels: Labels, resolution: float, generator: np.random.Generator
) -> Labels:
    """Move, refine and merge until no community can be merged further."""
    part = np.arange(len(labels), dtype=np.int64)  # which node of the smaller graph each node is in
    while True:
        flat = Flat(adjacency.indptr, adjacency.indices, adjacency.data, *null)
        count = adjacency.shape[0]
        move(flat, labels, resolution, generator.permutation(count))
        labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        if labels.max() + 1 == count:
            return labels[part]
        refined = refined_parts(flat, labels, resolution, generator.permutation(count), generator.random(count))
        refined = np.unique(refined, return_inverse=True)[1].astype(np.int64)
        if refined.max() + 1 == count:
            refined = labels
        size = int(refined.max()) + 1
        merge = sparse.csr_matrix((np.ones(count), (refined, np.arange(count))), shape=(size, count))
        adjacency = (merge @ adjacency @ merge.T).tocsr()
        null = NullModel(merge @ null.sources, merge @ null.targets, null.totals)
        merged = np.empty(size, dtype=np.int64)
        merged[refined] = labels
        part, labels = refined[part], merged


def _connected(adjacency: sparse.csr_matrix, labels: Labels) -> Labels:
    """The connected pieces of communities."""
    edges = adjacency.tocoo()
    inside = labels[edges.row] == labels[edges.col]
    kept = sparse.coo_matrix((edges.data[inside], (edges.row[inside], edges.col[inside])), shape=adjacency.shape)
    pieces: Labels = connected_components(kept, directed=False)[1].astype(np.int64)
    return pieces
