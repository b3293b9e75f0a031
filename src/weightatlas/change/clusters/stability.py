"""Whether clusters would be found again: from other starts, in subsets of the layers, and in curves without groups."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import rankdata

from weightatlas.change.clusters.clustering import (
    adjusted_rand,
    cluster,
    contingency,
    distinct,
    on_plane,
    principal_plane,
    silhouettes,
)
from weightatlas.change.clusters.scree import count_clusters

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.change.clusters.pipeline import Choice, Pipeline

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

SUBSET: Final = 0.8
"""The share of layers in each subset: few enough to test, enough for every cluster to be there."""

FEW_STARTS: Final = 3
"""Starts of each of the many clusterings here. For `p` the table at hand gets no more of them than its null."""


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """How far clusters can be trusted.

    Attributes:
        inits: mean adjusted Rand index between partitions from single starts and the best one; 1 where the method has
            no starts.
        reached: share of single starts that reach the best partition.
        resampled: mean adjusted Rand index between the partition and those of subsets of the layers.
        separation: mean silhouette of the layers.
        null_resampled: (2 nulls,) `resampled` of tables without groups: the Gaussian ones, then the even ones.
        null_separation: (2 nulls,) their `separation`.
        p: share of tables without groups, this one counted among them, whose ranks in `separation` and `resampled`
            add up to as much; the larger of the shares for the two kinds.
        stable: whether `p` is at most the pipeline's `alpha`.
    """

    inits: float
    reached: float
    resampled: float
    separation: float
    null_resampled: Array
    null_separation: Array
    p: float
    stable: bool


def stability(
    curves: Array, labels: Labels, clusters: int | Choice, pipeline: Pipeline, *, seed: int
) -> tuple[Stability, Array]:
    """Cluster again: from single starts, in subsets of the layers, and in tables without groups.

    **Null:** two, and clusters must be beyond both. The layers come from one Gaussian: such a table X = 1 m' + U S V'
    (the singular values of what the mean layer m leaves) has directions U that are uniform given m, S and V; they are
    drawn anew. Or the layers are spread evenly along the table's principal axes, with no gap: the same with U from
    uniform numbers. Each drawn table has the mean and the covariance of the table at hand, and goes the same way: the
    same choice of the number of clusters, the same method, subsets of the same size. The two figures, separation and
    agreement over subsets, are each ranked among the tables; p is the share of them whose ranks add up to as much.
    Against the Gaussian alone, 3 in 10 tables of evenly spread layers passed.

    Args:
        curves: (layers, records), prepared.
        labels: of the layers.
        clusters: how many, or how they were chosen.
        pipeline: of the method, and of how often to try.
        seed: of every draw.

    Returns:
        The figures, and for each cluster the mean over subsets of its largest Jaccard index with a cluster there.

    **Source:** rotation tests: Langsrud 2005; a single Gaussian as the null of clusters: Liu, Hayes, Nobel, Marron
    (SigClust) 2008, with a 2-means index where this takes any number of clusters; subsets: Ben-Hur, Elisseeff, Guyon
    2002; clusters one by one: Hennig 2007; ranks added: Pesarin 2001. The paper reports no stability.
    """
    generator = np.random.default_rng(seed)
    points = _space(curves, pipeline)
    inits = _agreement_of_starts(points, labels, pipeline, seed)
    resampled, jaccard = _over_subsets(points, labels, pipeline, generator)
    nulls = (without_groups(curves, generator, even=even) for even in (False, True) for _ in range(pipeline.nulls))
    figures = np.array([_figures_of(table, clusters, pipeline, generator) for table in chain([curves], nulls)])
    gaussian, evenly = figures[: pipeline.nulls + 1], np.delete(figures, slice(1, pipeline.nulls + 1), axis=0)
    p = max(_p_value(gaussian), _p_value(evenly))
    found = Stability(
        inits=float(inits.mean()),
        reached=float((inits > 1 - 1e-9).mean()),
        resampled=resampled,
        separation=float(silhouettes(points, labels).mean()),
        null_resampled=figures[1:, 1],
        null_separation=figures[1:, 0],
        p=p,
        stable=p <= pipeline.alpha,
    )
    return found, jaccard


def without_groups(curves: Array, generator: np.random.Generator, *, even: bool = False) -> Array:
    """Draw a table without groups that has the mean and the covariance of `curves`, exactly.

    Args:
        curves: (layers, records).
        generator: of the draw.
        even: spread the layers evenly along the principal axes, instead of as a Gaussian.

    Example:
        >>> curves = np.random.default_rng(0).normal(size=(9, 4))
        >>> drawn = without_groups(curves, np.random.default_rng(1))
        >>> np.allclose(np.cov(drawn.T), np.cov(curves.T))
        True
    """
    mean = curves.mean(axis=0)
    _, sizes, directions = np.linalg.svd(curves - mean, full_matrices=False)
    rank = min(len(sizes), len(curves) - 1)
    shape = len(curves), rank
    noise = generator.random(shape) if even else generator.standard_normal(shape)
    basis, triangle = np.linalg.qr(noise - noise.mean(axis=0))
    basis *= np.sign(np.diag(triangle))  # LAPACK fixes signs of its own, which are no part of the draw
    drawn: Array = mean + (basis * sizes[:rank]) @ directions[:rank]
    return drawn


def _space(curves: Array, pipeline: Pipeline) -> Array:
    return on_plane(principal_plane(curves), curves) if pipeline.space == "pca" else curves


def _agreement_of_starts(points: Array, labels: Labels, pipeline: Pipeline, seed: int) -> Array:
    if pipeline.method == "hierarchical":
        return np.ones(1)
    count = int(labels.max()) + 1
    starts = [
        cluster(points, count, pipeline.method, seed=seed + 1 + number, starts=1) for number in range(pipeline.inits)
    ]
    return np.array([adjusted_rand(contingency(labels, found)) for found in starts])


def _figures_of(
    curves: Array, clusters: int | Choice, pipeline: Pipeline, generator: np.random.Generator
) -> tuple[float, float]:
    """Separation and agreement over subsets, the same way for the table at hand and for those without groups."""
    seed = int(generator.integers(2**31))
    points = _space(curves, pipeline)
    if isinstance(clusters, int):
        count = min(clusters, distinct(points))
    else:
        count = count_clusters(curves, points, clusters, pipeline, seed=seed, starts=FEW_STARTS)
    if count == 1:
        return 0.0, 0.0  # no groups seen where there are none
    labels = cluster(points, count, pipeline.method, seed=seed, starts=FEW_STARTS)
    resampled, _ = _over_subsets(points, labels, pipeline, generator)
    return float(silhouettes(points, labels).mean()), resampled


def _over_subsets(
    points: Array, labels: Labels, pipeline: Pipeline, generator: np.random.Generator
) -> tuple[float, Array]:
    """Mean adjusted Rand index over subsets, and for each cluster its mean largest Jaccard index."""
    size = max(2, round(SUBSET * len(points)))
    count = int(labels.max()) + 1
    agreements, overlaps = [], []
    for _ in range(pipeline.resamples):
        subset = np.sort(generator.permutation(len(points))[:size])
        few = min(count, distinct(points[subset]))
        seed = int(generator.integers(2**31))
        found = cluster(points[subset], few, pipeline.method, seed=seed, starts=FEW_STARTS)
        shared = contingency(labels[subset], found)
        agreements.append(adjusted_rand(shared))
        overlaps.append(_jaccard(shared, count))
    table = np.array(overlaps)
    seen = np.maximum(np.isfinite(table).sum(axis=0), 1)
    return float(np.mean(agreements)), np.where(np.isfinite(table).any(axis=0), np.nansum(table, axis=0) / seen, np.nan)


def _jaccard(shared: Array, count: int) -> Array:
    """For each cluster its largest Jaccard index with a cluster of the subset; NaN for one that the subset lacks."""
    either = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    best = np.full(count, np.nan)
    best[: len(shared)] = np.where(shared.any(axis=1), np.max(shared / either, axis=1), np.nan)
    return best


def _p_value(figures: Array) -> float:
    """The share of tables whose ranks add up to as much as those of the first."""
    ranks = rankdata(figures, axis=0).sum(axis=1)
    return float((ranks >= ranks[0] - 1e-9).mean())
