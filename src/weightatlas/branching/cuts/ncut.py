"""Spectral clustering of a network's graph, and the normalised cut of the clusters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int64
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.cluster import KMeans
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from weightatlas.branching.cuts.adjacency import Adjacency

Array = np.ndarray

TOLERANCE: Final = 1e-5
"""Relative accuracy of eigenvalues: products in single precision give little more."""

DENSE_UP_TO: Final = 400
"""Up to so many nodes all eigenvectors are computed at once: an iteration would not be faster."""

RESTARTS: Final = 10
"""k-means from as many starts (k-means++), for the real network and the shuffled ones alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A partition of the nodes of a graph.

    Attributes:
        ncut: what leaves each cluster over all that is attached to it, summed over clusters.
        labels: cluster of each node, (nodes,); -1 for nodes without edges.
    """

    ncut: float
    labels: Int64[Array, " nodes"]


def spectral_cut(adjacency: Adjacency, clusters: int, *, seed: int, restarts: int = RESTARTS) -> Cut:
    r"""Cluster the nodes by k-means on the first eigenvectors of the normalised Laplacian.

    The first k eigenvectors of \(L = 1 - D^{-1/2} A D^{-1/2}\) are multiplied by \(D^{-1/2}\), which makes them those
    of the random walk, and a node's k coordinates are clustered. Nodes without edges are left out.

    Raises:
        ValueError: fewer nodes have edges than there are clusters.
    """
    degrees = adjacency.degrees()
    kept = degrees > 0
    if np.count_nonzero(kept) < clusters:
        message = f"{clusters} clusters of {np.count_nonzero(kept)} units with connections; ask for fewer clusters"
        raise ValueError(message)
    vectors = first_vectors(adjacency, clusters, seed=seed)
    places = vectors[kept] * degrees[kept, None] ** -0.5
    labels = np.full(len(degrees), -1, dtype=np.int64)
    with _controller().limit(limits=1):  # threads round in the order they end
        labels[kept] = KMeans(clusters, n_init=restarts, random_state=seed).fit(places).labels_
    return Cut(normalised_cut(adjacency, labels), labels)


@cache
def _controller() -> ThreadpoolController:
    """What sets the threads of all libraries; to find them takes longer than to cluster a small network."""
    return ThreadpoolController()


def normalised_cut(adjacency: Adjacency, labels: Int64[Array, " nodes"]) -> float:
    r"""\(\sum_c \mathrm{cut}(c) / \mathrm{vol}(c)\): of all that is attached to a cluster, the share that leaves it.

    0 where nothing leaves any cluster; \(k - 1\) is what k equal clusters of a complete graph come to.

    Args:
        adjacency: of the graph.
        labels: cluster of each node, -1 for none.
    """
    clusters = int(labels.max()) + 1
    members = np.zeros((len(labels), clusters))
    members[labels >= 0, labels[labels >= 0]] = 1
    attached = members.T @ adjacency.degrees()
    inside = np.einsum("nc,nc->c", members, adjacency.product(members).astype(np.float64))
    filled = attached > 0
    return float(np.sum(1 - inside[filled] / attached[filled]))


def first_vectors(adjacency: Adjacency, count: int, *, seed: int) -> Float[Array, "nodes count"]:
    r"""The `count` eigenvectors of \(D^{-1/2} A D^{-1/2}\) of the largest eigenvalues, (nodes, count).

    Every component of the graph has one of eigenvalue 1, which is known: \(\sqrt d\) on its nodes. An iteration from
    one vector would find one of them only, so that they are taken out, and what is left is looked for.
    """
    degrees = adjacency.degrees()
    scales = np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0)
    known = _component_vectors(adjacency.components(), degrees, count)
    left = count - known.shape[1]
    if left == 0:
        return known

    def multiply(vectors: Array) -> Array:
        vectors = vectors.reshape(len(degrees), -1)
        moved = scales[:, None] * adjacency.product(scales[:, None] * vectors)
        multiplied: Array = moved - known @ (known.T @ vectors)
        return multiplied

    if len(degrees) <= DENSE_UP_TO:
        dense = multiply(np.eye(len(degrees)))
        found = np.linalg.eigh((dense + dense.T) / 2)[1][:, ::-1][:, :left]
    else:
        operator = LinearOperator((len(degrees), len(degrees)), matvec=multiply, dtype=np.float64)
        start = np.random.default_rng(seed).standard_normal(len(degrees))
        values, vectors = eigsh(operator, k=left, which="LA", v0=start, tol=TOLERANCE)
        found = vectors[:, np.argsort(-values)]
    return np.hstack([known, found])


def _component_vectors(components: Array, degrees: Array, most: int) -> Array:
    """The eigenvectors of eigenvalue 1, of the largest components first; nodes without edges are none."""
    attached = np.bincount(components, weights=degrees)
    largest = [label for label in np.argsort(-attached, kind="stable")[:most] if attached[label] > 0]
    members = components[:, None] == np.array(largest)
    vectors: Array = np.where(members, np.sqrt(degrees)[:, None], 0)
    return vectors / np.sqrt(attached[largest])
