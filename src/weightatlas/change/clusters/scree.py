"""How many clusters: what each number of them would give, and which one is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.change.clusters.clustering import (
    cluster,
    distinct,
    information,
    on_plane,
    principal_plane,
    scatter,
    silhouettes,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.change.clusters.pipeline import Choice, Pipeline

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scree:
    """What each number of clusters gives.

    Attributes:
        clusters: the numbers of clusters tried, from 1.
        curves: for each, the sum of squared distances from the cluster centres, of the prepared curves.
        pca: the same of their first two principal components, clustered by themselves.
        silhouette: for each, the mean silhouette in the space that is clustered, -1 to 1; NaN for 1 cluster.
        bic: for each, the Bayesian information criterion, where the method is a mixture; else NaN.
        taken: the number of clusters taken.
    """

    clusters: tuple[int, ...]
    curves: Array
    pca: Array
    silhouette: Array
    bic: Array
    taken: int


def scree(curves: Array, clusters: int | Choice, pipeline: Pipeline, *, seed: int) -> Scree:
    """Cluster into 1, 2, 3 ... and say what fits.

    Args:
        curves: (layers, records), prepared.
        clusters: how many to take, or how to choose.
        pipeline: the space, the method, and how many to try.
        seed: of the starts.
    """
    plane = on_plane(principal_plane(curves), curves)
    points = plane if pipeline.space == "pca" else curves
    counts = tuple(range(1, most_clusters(points, pipeline) + 1))
    partitions = [cluster(points, count, pipeline.method, seed=seed) for count in counts]
    other = plane if points is curves else curves
    others = [cluster(other, count, pipeline.method, seed=seed) for count in counts if count <= distinct(other)]
    here = np.array([scatter(points, labels) for labels in partitions])
    there = np.array([scatter(other, labels) for labels in others] + [0.0] * (len(counts) - len(others)))
    silhouette = np.array([silhouettes(points, labels).mean() for labels in partitions])
    bic = np.full(len(counts), np.nan)
    if pipeline.method == "mixture":
        bic = np.array([information(points, count, seed=seed) for count in counts])
    on_curves, on_pca = (here, there) if points is curves else (there, here)
    most = distinct(points)
    taken = min(clusters, most) if isinstance(clusters, int) else _choose(clusters, on_pca, silhouette, bic)
    return Scree(counts, on_curves, on_pca, silhouette, bic, taken)


def count_clusters(curves: Array, points: Array, choice: Choice, pipeline: Pipeline, *, seed: int, starts: int) -> int:
    """The number of clusters that `scree` would take, without what the choice does not look at.

    Args:
        curves: (layers, records), prepared.
        points: what is clustered: the curves, or their principal components.
        choice: how to choose.
        pipeline: the method, and how many to try.
        seed: of the starts.
        starts: how many.
    """
    counts = range(1, most_clusters(points, pipeline) + 1)
    nothing = np.full(len(counts), np.nan)
    if choice == "bic":
        return _choose(choice, nothing, nothing, np.array([information(points, k, seed=seed) for k in counts]))
    if choice == "elbow":
        points = on_plane(principal_plane(curves), curves)
        counts = range(1, min(len(counts), distinct(points)) + 1)
    partitions = [cluster(points, count, pipeline.method, seed=seed, starts=starts) for count in counts]
    if choice == "elbow":
        return _choose(choice, np.array([scatter(points, labels) for labels in partitions]), nothing, nothing)
    return _choose(choice, nothing, np.array([silhouettes(points, labels).mean() for labels in partitions]), nothing)


def most_clusters(points: Array, pipeline: Pipeline) -> int:
    """How many clusters can be tried: fewer than there are layers, or any that is left over says nothing."""
    return max(1, min(pipeline.largest, len(points) - 1, distinct(points)))


def elbow(scatters: Array) -> int:
    """The number of clusters at the bend of a scree: the point furthest below the line from its first to its last.

    Args:
        scatters: sums of squares for 1, 2, 3 ... clusters.

    **Source:** Satopää, Albrecht, Irwin, Raghavan: Finding a "kneedle" in a haystack, 2011, without the smoothing; the
    paper ringed its elbows by hand.

    Example:
        >>> elbow(np.array([10.0, 4.0, 1.0, 0.8, 0.6]))
        3
    """
    if len(scatters) < 3 or scatters[0] <= scatters[-1]:
        return 1
    share = (scatters - scatters[-1]) / (scatters[0] - scatters[-1])
    return int(np.argmax(np.linspace(1, 0, len(scatters)) - share)) + 1


def _choose(choice: Choice, scatters: Array, silhouette: Array, bic: Array) -> int:
    if choice == "elbow":
        return elbow(scatters)
    if choice == "bic":
        return int(np.argmin(bic)) + 1
    return 1 if np.isnan(silhouette).all() else int(np.nanargmax(silhouette)) + 1
