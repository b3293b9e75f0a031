"""Spectral clustering with the graph's matrix written out, and the normalised cut by its definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.cluster import SpectralClustering

if TYPE_CHECKING:
    from weightatlas.branching.cuts.network_graph import NetworkGraph

Array = npt.NDArray[np.float64]


def adjacency(graph: NetworkGraph) -> Array:
    """The symmetric matrix of all edges."""
    matrix = np.zeros((graph.nodes, graph.nodes))
    for layer in graph.layers:
        groups, units, channels = layer.weights.shape
        for group in range(groups):
            for unit in range(units):
                for channel in range(channels):
                    one = layer.outputs[group * units + unit]
                    other = layer.inputs[group * channels + channel]
                    matrix[one, other] += layer.weights[group, unit, channel]
                    matrix[other, one] += layer.weights[group, unit, channel]
    return matrix


def normalised_cut(matrix: Array, labels: npt.NDArray[np.int64]) -> float:
    """Of all that is attached to a cluster the share that leaves it, summed."""
    total = 0.0
    for cluster in np.unique(labels[labels >= 0]):
        inside = labels == cluster
        if matrix[inside].sum() > 0:
            total += float(matrix[inside][:, ~inside].sum() / matrix[inside].sum())
    return total


def spectral_cut(matrix: Array, clusters: int, *, seed: int) -> float:
    """Normalised cut of scikit-learn's spectral clustering of a graph without isolated nodes."""
    model = SpectralClustering(clusters, affinity="precomputed", eigen_solver="arpack", random_state=seed, n_init=40)
    return normalised_cut(matrix, model.fit_predict(matrix).astype(np.int64))
