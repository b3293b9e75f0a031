"""Clusters of points by k-means, Ward's hierarchy or a mixture of Gaussians, and how well they fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.cluster.hierarchy import fcluster, ward
from scipy.spatial.distance import pdist, squareform

from weightatlas.change.clusters.kmeans import kmeans, members

if TYPE_CHECKING:
    import numpy.typing as npt
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    from weightatlas.change.clusters.pipeline import Method

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

# scikit-learn is imported where it is called: a survey's processes and a recorder in training never need it.

STARTS: Final = 10
"""Starts of k-means++ or of a mixture, the best of which counts; as published."""

LEAST_SPREAD: Final = 1e-3
"""A component of a mixture has this part of the points' mean variance at least: it cannot shrink to a point."""


def cluster(points: Array, count: int, method: Method, *, seed: int, starts: int = STARTS) -> Labels:
    """Give each point the number of its cluster, counted from 0 without a gap.

    Args:
        points: (points, features).
        count: clusters to look for; no more than there are distinct points. A mixture may leave some empty, and
            a hierarchy joins what is equally far at once.
        method: "kmeans", "hierarchical" or "mixture".
        seed: of the starts.
        starts: how many, the best of which counts; a hierarchy has none.
    """
    if count == 1:
        return np.zeros(len(points), dtype=np.int64)
    if method == "kmeans":
        from sklearn.cluster import KMeans

        found = KMeans(count, n_init=starts, max_iter=300, random_state=seed).fit_predict(points)
    elif method == "hierarchical":
        found = fcluster(ward(points), count, criterion="maxclust")
    else:
        found = _mixture(points, count, seed, starts).predict(points)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def cluster_each(
    tables: Array, count: int, method: Method, generator: np.random.Generator, *, starts: int = STARTS
) -> Labels:
    """Do what `cluster` does to each of many tables, by k-means to all of them at once.

    Args:
        tables: (tables, points, features).
        count: as in `cluster`.
        method: as in `cluster`.
        generator: of the starts.
        starts: of each table.

    Returns:
        (tables, points) numbers of clusters.
    """
    if method == "kmeans":
        return kmeans(tables, count, generator, starts=starts)
    seeds = generator.integers(2**31, size=len(tables))
    found = [
        cluster(table, count, method, seed=int(seed), starts=starts) for table, seed in zip(tables, seeds, strict=True)
    ]
    return np.array(found, dtype=np.int64).reshape(tables.shape[:2])


def information(points: Array, count: int, *, seed: int, starts: int = STARTS) -> float:
    """The Bayesian information criterion of a mixture with `count` components; less is better."""
    return float(_mixture(points, count, seed, starts).bic(points))


def _mixture(points: Array, count: int, seed: int, starts: int) -> GaussianMixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    spread = float(points.var(axis=0).mean())
    model = GaussianMixture(
        count, covariance_type="diag", n_init=starts, reg_covar=LEAST_SPREAD * spread, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best of the starts is taken all the same
        return model.fit(points)


def scatter(points: Array, labels: Labels) -> Array:
    """The sums of squared distances from the cluster centres: (...,) of (..., points, features)."""
    inside = members(labels, int(labels.max()) + 1)
    sizes = np.maximum(inside.sum(axis=-2), 1)[..., np.newaxis]
    centred = points - points.mean(axis=-2, keepdims=True)
    means = inside.swapaxes(-1, -2) @ centred / sizes
    found: Array = np.square(centred - inside @ means).sum(axis=(-2, -1))
    return found


def distances(points: Array) -> Array:
    """Between all pairs of points: (..., points, points) of (..., points, features)."""
    tables = points.reshape(-1, *points.shape[-2:])
    found = np.array([squareform(pdist(table)) for table in tables])
    return found.reshape(*points.shape[:-1], points.shape[-2])


def silhouettes(between: Array, labels: Labels) -> Array:
    """How much nearer each point is to its own cluster than to the next, -1 to 1.

    0 for one that is alone in its cluster; NaN where there is one cluster, or none with two points. scikit-learn's
    function gives the same, in ten times the time for as few points.

    Args:
        between: (..., points, points) distances.
        labels: (..., points) numbers of clusters.

    **Source:** Rousseeuw: Silhouettes, 1987.
    """
    inside = members(labels, int(labels.max(initial=0)) + 1)
    sizes = inside.sum(axis=-2)
    clusters = (sizes > 0).sum(axis=-1)
    own = labels[..., np.newaxis]
    totals = between @ inside
    of_own = np.take_along_axis(sizes, labels, axis=-1)
    within = np.take_along_axis(totals, own, axis=-1)[..., 0] / np.maximum(of_own - 1, 1)
    means = np.where(sizes[..., np.newaxis, :] > 0, totals / np.maximum(sizes, 1)[..., np.newaxis, :], np.inf)
    np.put_along_axis(means, own, np.inf, axis=-1)
    nearest = means.min(axis=-1)
    is_split = (clusters >= 2) & (clusters < labels.shape[-1])
    nearest = np.where(is_split[..., np.newaxis], nearest, np.nan)
    width = np.maximum(within, nearest)
    alone = (of_own == 1) | (width == 0)
    found: Array = np.where(alone & is_split[..., np.newaxis], 0.0, (nearest - within) / np.where(width > 0, width, 1))
    return found


def distinct(points: Array) -> int:
    """How many points differ: no more clusters than that."""
    return len(np.unique(points, axis=0))


def principal_plane(points: Array) -> PCA:
    """Fit the first two principal components, or as many as there are."""
    from sklearn.decomposition import PCA

    return PCA(min(2, *points.shape), svd_solver="full").fit(points)


def on_plane(plane: PCA, points: Array) -> Array:
    """Coordinates on the principal plane, (points, 2); 0 for a component that there is not."""
    found = plane.transform(points)
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def on_planes(tables: Array) -> Array:
    """Coordinates of each table on its own principal plane: (tables, points, 2); 0 for a component that there is not.

    As `on_plane`, but for the signs of the components.
    """
    left, sizes, _ = np.linalg.svd(tables - tables.mean(axis=1, keepdims=True), full_matrices=False)
    found: Array = left[..., :2] * sizes[:, np.newaxis, :2]
    return np.pad(found, ((0, 0), (0, 0), (0, 2 - found.shape[2])))


def contingency(first: Labels, second: Labels) -> Array:
    """How many points two partitions put into each pair of clusters: (..., clusters, clusters) of (..., points)."""
    counts: Array = members(first, int(first.max()) + 1).swapaxes(-1, -2) @ members(second, int(second.max()) + 1)
    return counts


def adjusted_rand(counts: Array) -> Array:
    """The adjusted Rand index of two partitions: 1 where they are the same, 0 on average where they are random.

    scikit-learn's function gives the same, at 40 times the time for the few points there are here.

    Args:
        counts: (..., clusters, clusters) their contingency tables.

    **Source:** Hubert, Arabie: Comparing partitions, 1985, equation 5.

    Example:
        >>> float(adjusted_rand(contingency(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))))
        1.0
    """
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    together = (counts * (counts - 1)).sum(axis=(-2, -1))
    first, second = ((part * (part - 1)).sum(axis=-1) for part in (rows, columns))
    points = rows.sum(axis=-1)
    expected = first * second / np.maximum(points * (points - 1), 1)
    most = (first + second) / 2
    differ = most != expected
    found: Array = np.where(differ, (together - expected) / np.where(differ, most - expected, 1), 1.0)
    return found
