"""How many clusters: what each number of them would give, and which one is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.change.clusters.clustering import (
    cluster,
    cluster_each,
    distances,
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
    Labels = npt.NDArray[np.int64]


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
    between = distances(points)
    silhouette = np.array([silhouettes(between, labels).mean() for labels in partitions])
    bic = np.full(len(counts), np.nan)
    if pipeline.method == "mixture":
        bic = np.array([information(points, count, seed=seed) for count in counts])
    on_curves, on_pca = (here, there) if points is curves else (there, here)
    most = distinct(points)
    figures = {"elbow": on_pca, "silhouette": silhouette, "bic": bic}
    taken = min(clusters, most) if isinstance(clusters, int) else choose(clusters, figures[clusters])
    return Scree(counts, on_curves, on_pca, silhouette, bic, taken)


def choose(choice: Choice, figures: Array) -> int:
    """The number of clusters that a choice takes, from its figures for 1, 2, 3 ... clusters; NaN has no say."""
    known = np.isfinite(figures)
    if choice == "elbow":
        return elbow(figures[known])
    if not known.any():
        return 1
    return int(np.nanargmin(figures) if choice == "bic" else np.nanargmax(figures)) + 1


def count_clusters(
    tables: Array, choice: Choice, pipeline: Pipeline, generator: np.random.Generator, *, starts: int
) -> Labels:
    """The number of clusters that `scree` would take in each of many tables.

    Args:
        tables: (tables, points, features) of what the choice looks at: the principal planes for an elbow, else what is
            clustered.
        choice: how to choose.
        pipeline: the method, and how many to try.
        generator: of the starts.
        starts: how many.

    Returns:
        (tables,) numbers of clusters.
    """
    most = np.array([most_clusters(table, pipeline) for table in tables])
    figures = np.full((len(tables), int(most.max())), np.nan)
    between = distances(tables) if choice == "silhouette" else None
    for count in range(1, figures.shape[1] + 1):
        taking = np.flatnonzero(most >= count)
        some = tables[taking]
        if choice == "bic":
            seeds = generator.integers(2**31, size=len(some))
            known = [information(table, count, seed=int(seed)) for table, seed in zip(some, seeds, strict=True)]
            figures[taking, count - 1] = known
            continue
        labels = cluster_each(some, count, pipeline.method, generator, starts=starts)
        figures[taking, count - 1] = (
            scatter(some, labels) if between is None else silhouettes(between[taking], labels).mean(axis=-1)
        )
    return np.array([choose(choice, row) for row in figures])


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
