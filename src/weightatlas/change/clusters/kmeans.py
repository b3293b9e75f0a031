"""k-means of many small tables at once: all starts of all of them go through each step together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

ITERATIONS: Final = 300
"""As published; tables of layers take about ten."""

TOGETHER: Final = 1 << 20
"""Numbers that an intermediate array holds at most, unless one table alone needs more: 8 MiB, about a cache."""


def kmeans(tables: Array, count: int, generator: np.random.Generator, *, starts: int) -> Labels:
    """Partition each table by k-means, the start with the least sum of squares.

    Every start draws its centres by greedy k-means++ and goes on until no point changes its cluster. The steps are
    those of scikit-learn's `KMeans` with `tol=0`; from the same centres both give the same partition. There a call
    takes a millisecond whatever the table's size, and the nulls of a clustering are thousands of tables of 30 layers.

    Args:
        tables: (tables, points, features), at least `count` distinct points in each.
        count: clusters.
        generator: of the starts.
        starts: of each table.

    Returns:
        (tables, points) numbers of clusters, from 0.

    **Source:** Arthur, Vassilvitskii: k-means++, 2007, with the best of 2 + ln k candidates at each draw, as they
    propose; Lloyd: Least squares quantization in PCM, 1982.

    Example:
        >>> tables = np.array([[[0.0], [0.1], [5.0]], [[3.0], [9.0], [9.1]]])
        >>> found = kmeans(tables, 2, np.random.default_rng(0), starts=3)
        >>> (found == found[:, 1:2]).tolist()
        [[True, True, False], [False, True, True]]
    """
    found = np.zeros(tables.shape[:2], dtype=np.int64)
    if count == 1:
        return found
    for part in _parts(len(tables), starts * tables.shape[1] * max(count + 1, tables.shape[2])):
        centred = tables[part] - tables[part].mean(axis=1, keepdims=True)
        runs = np.repeat(centred, starts, axis=0)
        labels, squares = lloyd(runs, spread_centres(runs, count, generator))
        best = squares.reshape(-1, starts).argmin(axis=1)
        found[part] = labels.reshape(-1, starts, tables.shape[1])[np.arange(len(best)), best]
    return found


def spread_centres(tables: Array, count: int, generator: np.random.Generator) -> Array:
    """Draw points far from each other: each with a chance that goes with its squared distance from those before.

    Args:
        tables: (tables, points, features), centred.
        count: centres.
        generator: of the draws.

    Returns:
        (tables, `count`, features).
    """
    number, points = tables.shape[:2]
    every = np.arange(number)
    trials = 2 + int(np.log(count))
    squares = np.square(tables).sum(axis=-1)
    chosen = np.empty((number, count), dtype=np.int64)
    chosen[:, 0] = generator.integers(points, size=number)
    nearest = _squared_distances(tables, squares, chosen[:, :1])[:, 0]
    for place in range(1, count):
        heights = nearest.cumsum(axis=1)
        drawn = generator.random((number, trials)) * heights[:, -1:]
        candidates = np.minimum((heights[:, np.newaxis] < drawn[..., np.newaxis]).sum(axis=-1), points - 1)
        reached = np.minimum(_squared_distances(tables, squares, candidates), nearest[:, np.newaxis])
        best = reached.sum(axis=-1).argmin(axis=-1)
        chosen[:, place] = candidates[every, best]
        nearest = reached[every, best]
    return tables[every[:, np.newaxis], chosen]


def lloyd(tables: Array, centres: Array) -> tuple[Labels, Array]:
    """Move centres to the means of their points until no point changes its cluster.

    A cluster that loses its last point gets the point that is furthest from its centre, as in scikit-learn.

    Args:
        tables: (tables, points, features), centred.
        centres: (tables, clusters, features) to begin with.

    Returns:
        (tables, points) numbers of clusters, and (tables,) the sums of squared distances from their means.
    """
    labels = np.full(tables.shape[:2], -1, dtype=np.int64)
    means = centres.copy()
    moving = np.arange(len(tables))
    for _ in range(ITERATIONS):
        points, old = tables[moving], labels[moving]
        away = np.square(means[moving]).sum(axis=-1)[:, np.newaxis] - 2 * points @ means[moving].swapaxes(1, 2)
        new = away.argmin(axis=-1)
        has_moved = (new != old).any(axis=1)
        moving, points, new, away = moving[has_moved], points[has_moved], new[has_moved], away[has_moved]
        if not len(moving):
            break
        labels[moving] = new
        means[moving] = _means(points, new, away)
    own = np.take_along_axis(means, labels[..., np.newaxis], axis=1)
    return labels, np.square(tables - own).sum(axis=(1, 2))


def _means(points: Array, labels: Labels, away: Array) -> Array:
    """The mean of each cluster's points; one without points takes the point furthest from its own centre."""
    inside = members(labels, away.shape[-1])
    sizes, sums = inside.sum(axis=1), inside.swapaxes(1, 2) @ points
    for run in np.flatnonzero((sizes == 0).any(axis=1)):
        empty = np.flatnonzero(sizes[run] == 0)
        apart = away[run].min(axis=-1) + np.square(points[run]).sum(axis=-1)
        for label, point in zip(empty, np.argsort(-apart, kind="stable"), strict=False):
            former = labels[run, point]
            sums[run, former] -= points[run, point]
            sums[run, label] = points[run, point]
            sizes[run, former] -= 1
            sizes[run, label] = 1
    means: Array = sums / np.maximum(sizes, 1)[..., np.newaxis]
    return means


def members(labels: Labels, count: int) -> Array:
    """1 where a point is in a cluster, else 0: (..., points, clusters).

    Example:
        >>> members(np.array([1, 0]), 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    inside: Array = (labels[..., np.newaxis] == np.arange(count)).astype(np.float64)
    return inside


def _squared_distances(tables: Array, squares: Array, chosen: Labels) -> Array:
    """Of all points from chosen ones: (tables, chosen, points)."""
    of_chosen = np.take_along_axis(squares, chosen, axis=1)
    places = tables[np.arange(len(tables))[:, np.newaxis], chosen]
    found = of_chosen[..., np.newaxis] + squares[:, np.newaxis] - 2 * places @ tables.swapaxes(1, 2)
    np.put_along_axis(found, chosen[..., np.newaxis], 0, axis=-1)
    return np.maximum(found, 0)


def _parts(tables: int, numbers: int) -> Iterator[slice]:
    size = max(1, TOGETHER // max(numbers, 1))
    return (slice(low, low + size) for low in range(0, tables, size))
