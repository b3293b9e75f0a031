"""Products with the matrix of a network's graph, whose layers stay dense blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64
from scipy import sparse
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from weightatlas.branching.cuts.network_graph import NetworkGraph

Array = np.ndarray


class Adjacency:
    r"""The symmetric matrix \(A = \sum_\ell P_o W_\ell P_i^T + P_i W_\ell^T P_o^T\) of a graph, never written out.

    A layer of thousands of units against thousands is a dense block, and a product with several vectors runs at the
    speed of a matrix product.
    """

    def __init__(self, graph: NetworkGraph, weights: Sequence[Array] | None = None) -> None:
        """Take the graph's nodes and layers, with other weights where they are given."""
        self.nodes = graph.nodes
        self._blocks = [layer.weights for layer in graph.layers] if weights is None else list(weights)
        self._ends = [(layer.outputs, layer.inputs) for layer in graph.layers]
        places = np.concatenate([ends for pair in self._ends for ends in pair])
        ones = np.ones(len(places), dtype=np.float32)
        # Adds up what arrives at a node from all layers, and where a layer names it twice.
        self._gather = sparse.csr_matrix((ones, (places, np.arange(len(places)))), shape=(graph.nodes, len(places)))

    def product(self, vectors: Float[Array, "nodes count"]) -> Float[Array, "nodes count"]:
        """A times several vectors, in single precision."""
        vectors = vectors.astype(np.float32, copy=False)
        arriving = np.empty((self._gather.shape[1], vectors.shape[1]), dtype=np.float32)
        start = 0
        for block, (outputs, inputs) in zip(self._blocks, self._ends, strict=True):
            for matrices, to, source in ((block, outputs, inputs), (block.swapaxes(1, 2), inputs, outputs)):
                read = vectors[source].reshape(len(block), -1, vectors.shape[1])
                arriving[start : start + len(to)] = np.matmul(matrices, read).reshape(len(to), -1)
                start += len(to)
        summed: Array = self._gather @ arriving
        return summed

    def degrees(self) -> Float[Array, " nodes"]:
        """Sum of the edges at each node."""
        ones = np.ones((self.nodes, 1), dtype=np.float32)
        degrees: Array = self.product(ones)[:, 0].astype(np.float64)
        return degrees

    def components(self) -> Int64[Array, " nodes"]:
        """Which nodes hang together: a number for each, by the first node of each component."""
        pairs = np.concatenate([np.stack(pair) for pair in self._joined()], axis=1)
        joined = sparse.coo_matrix((np.ones(pairs.shape[1], dtype=bool), tuple(pairs)), shape=(self.nodes, self.nodes))
        labels: Array = connected_components(joined, directed=False)[1]
        return labels.astype(np.int64)

    def _joined(self) -> Iterator[tuple[Array, Array]]:
        """Pairs of nodes that join what the edges join: of a block without zeros, all to its first."""
        for block, (outputs, inputs) in zip(self._blocks, self._ends, strict=True):
            for weights, tos, sources in zip(
                block, outputs.reshape(len(block), -1), inputs.reshape(len(block), -1), strict=True
            ):
                if weights.all():
                    yield np.full(len(sources), tos[0]), sources
                    yield tos, np.full(len(tos), sources[0])
                else:
                    rows, columns = np.nonzero(weights)
                    yield tos[rows], sources[columns]
