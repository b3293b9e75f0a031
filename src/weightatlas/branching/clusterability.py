"""Clusterability: does a network's graph fall into clusters more than its own weights in random places would?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from jaxtyping import Float, Int64

from weightatlas.branching.cuts.adjacency import Adjacency
from weightatlas.branching.cuts.ncut import RESTARTS, spectral_cut
from weightatlas.branching.hidden.balancing import balance
from weightatlas.parallel import Backend, parallel_map
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from weightatlas.branching.cuts.network_graph import NetworkGraph

Array = np.ndarray

Shuffled = Literal["weights", "sized"]
SHUFFLED: tuple[Shuffled, ...] = get_args(Shuffled)

CLUSTERS: Final = 12
"""As Filan et al."""

ACCURACY: Final = 1e-5
"""n-cuts closer than this are alike: their sums run in single precision."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Clusterability:
    r"""How well a network divides into clusters of units, and how well shuffled networks do.

    Attributes:
        ncut: normalised cut of the clusters, 0 to `clusters`; lower is better divided.
        clusters: how many were asked for.
        null: normalised cut of every shuffled network, (shuffles,).
        labels: cluster of each node of the graph, (nodes,); -1 for those without connections.
        sizes: layer to the number of its units in each cluster, int64 (clusters,).
        shuffled: "weights" or "sized".
        notes: of the graph, and what was left out; one sentence each.
        source: what was measured.
    """

    ncut: float
    clusters: int
    null: Float[Array, " shuffles"]
    labels: Int64[Array, " nodes"]
    sizes: Mapping[str, npt.NDArray[np.int64]]
    shuffled: Shuffled
    notes: tuple[str, ...] = ()
    source: str = "network"

    @property
    def null_mean(self) -> float:
        """Mean normalised cut of the shuffled networks."""
        return float(self.null.mean())

    @property
    def null_std(self) -> float:
        """Its standard deviation among them."""
        return float(self.null.std(ddof=1)) if len(self.null) > 1 else 0.0

    @property
    def z_score(self) -> float:
        """Standard deviations above the shuffled networks' mean; below 0 is better divided than they are.

        0 where all n-cuts are alike to the accuracy they have; infinite where only the shuffled ones are.
        """
        difference = self.ncut - self.null_mean
        if abs(difference) <= ACCURACY:
            return 0.0
        return difference / self.null_std if self.null_std > ACCURACY else math.copysign(math.inf, difference)

    @property
    def p_value(self) -> float:
        """(1 + shuffled networks that divide as well) / (1 + shuffled networks)."""
        return float((1 + np.count_nonzero(self.null <= self.ncut + ACCURACY)) / (1 + len(self.null)))

    @property
    def in_out_ratio(self) -> float:
        r"""Weight of an average cluster's inner edges over that of those that leave it: \((1 - n/k) / (2n/k)\)."""
        leaving = self.ncut / self.clusters
        return (1 - leaving) / (2 * leaving) if leaving > 0 else float("inf")


def clusterability(
    graph: NetworkGraph,
    *,
    clusters: int = CLUSTERS,
    shuffles: int = 50,
    seed: int = 0,
    shuffled: Shuffled = "weights",
    restarts: int = RESTARTS,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
) -> Clusterability:
    r"""Measure how well the units of a network divide into clusters, against networks of shuffled weights.

    With cut(c) the weight of the edges that leave cluster c and vol(c) that of all ends of edges in it,
    \[ \text{n-cut} = \sum_{c=1}^{k} \frac{\mathrm{cut}(c)}{\mathrm{vol}(c)}, \]
    of the clusters that spectral clustering finds: k-means on the first k eigenvectors of the normalised Laplacian.
    0 is k networks side by side; a network without any structure comes to nearly \(k - 1\).

    **Null.** The same procedure on networks whose edges change places within each layer, at random. "weights": all
    edges do, as in the paper, so that units of a shuffled layer are of one size. "sized": units keep their sizes; what
    changes places is the balanced matrix of each layer (`balance`), so that a network is not called clustered for units
    that are large. Where clusters are whole layers no shuffling changes their n-cut: z is 0 then, and p 1.

    Args:
        graph: of `network_graph`.
        clusters: k.
        shuffles: shuffled networks.
        seed: of the shuffles, and of k-means, which starts alike on every network.
        shuffled: "weights" or "sized".
        restarts: starts of k-means for each network.
        jobs: shuffled networks worked on at once, each needs a copy of the graph; None is one a core.
        backend: "threading", "loky", "dask" or "ray".
        progress: called once for each shuffled network.

    Raises:
        ValueError: fewer than two clusters, no shuffles, or fewer connected units than clusters.

    **Source:** Filan, Casper, Hod, Wild, Critch and Russell, *Clusterability in Neural Networks* (2021): n-cut, z and p
    with 12 clusters; the in/out ratio. Its figures (VGG-16 7.80, z = -22; ResNet-50 4.13, z = -75) are of networks that
    are not at hand here. They treat layers as a chain; here residual streams are merged, so that figures of residual
    networks are not comparable. "sized" is ours.

    Example:
        >>> import torch
        >>> from weightatlas.branching.cuts.network_graph import network_graph
        >>> block = torch.block_diag(*torch.ones(3, 8, 8)) + 0.01
        >>> found = clusterability(network_graph({"a.weight": block, "b.weight": block}), clusters=3, shuffles=19)
        >>> round(found.ncut, 2), found.z_score < -3, found.p_value
        (0.06, True, 0.05)
    """
    if clusters < 2 or shuffles < 1 or restarts < 1:
        message = "clusterability needs at least two clusters, one shuffled network and one start of k-means"
        raise ValueError(message)
    if shuffled not in SHUFFLED:
        message = f"shuffled must be one of {', '.join(SHUFFLED)}, not {shuffled!r}"
        raise ValueError(message)
    found = spectral_cut(Adjacency(graph), clusters, seed=seed, restarts=restarts)
    parts = [_spread(layer.weights) if shuffled == "sized" else None for layer in graph.layers]
    cut = partial(_shuffled_cut, graph, parts, clusters=clusters, seed=seed, restarts=restarts)
    null = parallel_map(
        cut, range(shuffles), jobs=jobs, backend=backend, progress=progress, label=lambda index: f"shuffle {index + 1}"
    )
    lost = int(np.count_nonzero(found.labels < 0))
    alone = (f"{lost} of {graph.nodes} units have no connections and are in no cluster",) if lost else ()
    return Clusterability(
        ncut=found.ncut,
        clusters=clusters,
        null=np.array(null),
        labels=found.labels,
        sizes=_sizes(graph, found.labels, clusters),
        shuffled=shuffled,
        notes=(*graph.notes, *alone),
        source=graph.source,
    )


def _shuffled_cut(
    graph: NetworkGraph,
    parts: Sequence[tuple[Array, Array] | None],
    index: int,
    *,
    clusters: int,
    seed: int,
    restarts: int,
) -> float:
    """Normalised cut of the network with every layer's edges in random places."""
    generator = np.random.default_rng((seed, index))
    weights = [
        _permuted(layer.weights, generator) if part is None else part[0] * _permuted(part[1], generator)
        for layer, part in zip(graph.layers, parts, strict=True)
    ]
    return spectral_cut(Adjacency(graph, weights), clusters, seed=seed, restarts=restarts).ncut


def _permuted(weights: Array, generator: np.random.Generator) -> Array:
    """All elements in random places."""
    shuffled: Array = generator.permutation(weights.reshape(-1)).reshape(weights.shape)
    return shuffled


def _spread(weights: Array) -> tuple[Array, Array]:
    """The sizes of units, and how each spreads its weight once they are taken out; both of the weights' shape."""
    sizes, spread = np.zeros_like(weights), np.zeros_like(weights)
    for group, matrix in enumerate(weights):
        if matrix.any():
            balanced = balance(matrix, rounds=1000)
            there = np.ix_(balanced.rows, balanced.columns)
            sizes[group][there] = np.outer(balanced.row_scales, balanced.column_scales)
            spread[group][there] = balanced.matrix
    return sizes, spread


def _sizes(graph: NetworkGraph, labels: Array, clusters: int) -> dict[str, npt.NDArray[np.int64]]:
    """Units of each layer in each cluster."""
    sizes = {}
    for layer in graph.layers:
        named = labels[np.unique(layer.outputs)]
        sizes[layer.layer] = np.bincount(named[named >= 0], minlength=clusters).astype(np.int64)
    return sizes
