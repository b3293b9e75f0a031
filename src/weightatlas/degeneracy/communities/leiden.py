"""The Leiden algorithm for graphs in layers: communities that are connected, of as high a modularity as it finds.

Written here, and not taken from scikit-network, because its `Leiden` (0.33) may run for ever (its issue 592), draws
from C's global `rand` so that one seed gives several answers, and knows no null model of layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from weightatlas.degeneracy.communities.layered_graph import in_order_of_size
from weightatlas.degeneracy.communities.moving import LEAST_GAIN, Flat, merged, move, refined_parts

if TYPE_CHECKING:
    from weightatlas.degeneracy.communities.layered_graph import Expected, Labels, LayeredGraph

TIE: Final = 1e-9
"""Two communities become one where that costs less than this share of all weight."""
ROUNDS: Final = 10
"""Of the whole algorithm, each from where the last one ended, as long as modularity rises."""


class Prepared:
    """A graph as the search takes it, made ready once for any number of seeds.

    Attributes:
        joined: int64, the nodes that have edges.
        flat: the graph of these; all its weights add up to 1.
        size: nodes, with those that have no edges.
    """

    def __init__(self, graph: LayeredGraph, expected: Expected = "layered") -> None:
        """Scale the graph's weights."""
        adjacency = graph.adjacency()
        self.size = int(adjacency.shape[0])
        self.joined = np.flatnonzero(np.diff(adjacency.indptr))
        total = graph.total or 1.0
        within = adjacency[self.joined][:, self.joined].tocsr()
        null = graph.null_model(expected)
        self.flat = Flat(
            within.indptr,
            within.indices,
            within.data / total,
            null.sources[self.joined] / total,
            null.targets[self.joined] / total,
            null.totals / total,
        )

    def modularity(self, labels: Labels, resolution: float = 1.0) -> float:
        """Q, as `layered_graph.modularity` defines it; labels are of all nodes. NaN for a graph without edges."""
        if not self.joined.size:
            return float("nan")
        names, flat = labels[self.joined], self.flat
        rows = np.repeat(names, np.diff(flat.starts))
        inside = float(flat.weights[rows == names[flat.neighbours]].sum()) / 2
        sums = [np.zeros((int(names.max()) + 1, flat.totals.size)) for _ in range(2)]
        np.add.at(sums[0], names, flat.sources)
        np.add.at(sums[1], names, flat.targets)
        return inside - resolution * float((sums[0] * sums[1] / flat.totals).sum())


def leiden(graph: Prepared, *, resolution: float = 1.0, seed: int | np.random.SeedSequence = 0) -> Labels:
    """Find communities of high modularity.

    Rounds of three phases: nodes move where modularity rises most; each community is refined into connected parts;
    the parts become the nodes of a smaller graph. A community that ends up in pieces is taken apart, and two become one
    where modularity does not tell them apart.

    Args:
        graph: with what chance would make of it.
        resolution: above 1 gives more and smaller communities.
        seed: of the order of nodes and of refinement.

    Returns:
        int64 (nodes,): the number of each node's community, 0 being the largest; -1 for nodes without edges.

    **Source:** Traag, Waltman and van Eck, *From Louvain to Leiden: guaranteeing well-connected communities* (2019).
    The null model by pairs of layers is Barber's (2007) for each. Randomness is relative to the node's own weight, so
    that it does not depend on the size of the graph.

    Example:
        >>> from weightatlas.degeneracy.communities.layered_graph import graph_of
        >>> two = np.kron(np.eye(2), np.ones((3, 3)))  # two blocks, three columns
        >>> leiden(Prepared(graph_of([two, two]))).tolist()
        [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    """
    labels = np.full(graph.size, -1, dtype=np.int64)
    if not graph.joined.size:
        return labels
    generator = np.random.default_rng(seed)
    found = np.arange(len(graph.joined), dtype=np.int64)
    best, kept = -np.inf, labels
    for _ in range(ROUNDS):
        found = _connected(graph.flat, _one_round(graph.flat, found, resolution, generator))
        found = _merged_where_nothing_is_lost(graph.flat, found, resolution)
        labels = labels.copy()
        labels[graph.joined] = found
        reached = graph.modularity(labels, resolution)
        if reached <= best + LEAST_GAIN:
            break
        best, kept = reached, labels
    return in_order_of_size(kept)


def _one_round(flat: Flat, labels: Labels, resolution: float, generator: np.random.Generator) -> Labels:
    """Move, refine and merge until no community can be merged further."""
    part = np.arange(len(labels), dtype=np.int64)  # which node of the smaller graph each node is in
    while True:
        count = len(labels)
        move(flat, labels, resolution, generator.permutation(count))
        labels = _without_gaps(labels)
        if labels.max() + 1 == count:
            return labels[part]
        refined = refined_parts(flat, labels, resolution, generator.permutation(count), generator.random(count))
        refined = _without_gaps(refined)
        if refined.max() + 1 == count:
            refined = labels
        of_parts = np.empty(int(refined.max()) + 1, dtype=np.int64)
        of_parts[refined] = labels
        flat, part, labels = merged(flat, refined), refined[part], of_parts


def _merged_where_nothing_is_lost(flat: Flat, labels: Labels, resolution: float) -> Labels:
    """Of equal modularity, the fewest communities: those with an edge between them are merged, best ones first."""
    count = int(labels.max()) + 1
    rows = np.repeat(labels, np.diff(flat.starts))
    between = np.zeros((count, count))
    np.add.at(between, (rows, labels[flat.neighbours]), flat.weights)
    sources, targets = (np.zeros((count, flat.totals.size)) for _ in range(2))
    np.add.at(sources, labels, flat.sources)
    np.add.at(targets, labels, flat.targets)
    chance = (sources / flat.totals) @ targets.T
    gains = between - resolution * (chance + chance.T)
    number = np.arange(count)
    while True:
        open_to = np.where((between > 0) & ~np.eye(count, dtype=np.bool_), gains, -np.inf)
        one, other = divmod(int(open_to.argmax()), count)
        if not open_to[one, other] >= -TIE:
            return _without_gaps(number[labels])
        for table in (between, gains):  # both add up
            table[one] += table[other]
            table[:, one] += table[:, other]
            table[other] = table[:, other] = 0
        number[number == other] = one


def _without_gaps(labels: Labels) -> Labels:
    """The same, numbered from 0."""
    number = np.cumsum(np.bincount(labels) > 0, dtype=np.int64) - 1
    return number[labels]


def _connected(flat: Flat, labels: Labels) -> Labels:
    """The connected pieces of communities."""
    rows = np.repeat(np.arange(len(labels)), np.diff(flat.starts))
    inside = labels[rows] == labels[flat.neighbours]
    shape = (len(labels), len(labels))
    kept = sparse.csr_matrix((flat.weights[inside], (rows[inside], flat.neighbours[inside])), shape=shape)
    pieces: Labels = connected_components(kept, directed=False)[1].astype(np.int64)
    return pieces
