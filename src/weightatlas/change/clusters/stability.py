"""Whether clusters would be found again: from other starts, in subsets of the layers, and in curves without groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import rankdata

from weightatlas.change.clusters.clustering import (
    adjusted_rand,
    cluster_each,
    contingency,
    distances,
    distinct,
    on_planes,
    silhouettes,
)
from weightatlas.change.clusters.scree import count_clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.change.clusters.pipeline import Choice, Pipeline

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

SUBSET: Final = 0.8
"""The share of layers in each subset: few enough to test, enough for every cluster to be there."""

FEW_STARTS: Final = 3
"""Starts of each of the many clusterings here. For `p` the table at hand gets no more of them than its null."""

TOGETHER: Final = 1 << 21
"""Distances between layers that are held at a time: 16 MiB, all tables of 100 layers, or one of a thousand or more."""


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

    With both, and the default steps, of 150 tables of 30 layers x 20 records without groups these passed at 5 %: none
    of noise alone, of levels that rise with depth, of levels with slopes; 1 % of Gaussian or heavy-tailed (Student's t,
    3 degrees) levels; 2 % on an arc; 8 % of uniform levels; 12 % of skewed ones (exponential). So 5 % bounds what
    Gaussian layers give; a tail to one side can look like a group. The published steps compare raw curves, where
    most levels are skewed: 16 % of uniform or skewed levels passed (of 80), else 0 to 8 %.

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
    points = _space(curves[np.newaxis], pipeline)
    inits = _agreement_of_starts(points[0], labels, pipeline, generator)
    resampled, jaccard = _over_subsets(points, labels[np.newaxis], pipeline, generator)
    kinds = [None, *[False] * pipeline.nulls, *[True] * pipeline.nulls]
    block = max(1, TOGETHER // len(curves) ** 2)
    figures = np.concatenate(
        [
            _figures_of(_tables(curves, kinds[low : low + block], generator), clusters, pipeline, generator)
            for low in range(0, len(kinds), block)
        ]
    )
    gaussian, evenly = figures[: pipeline.nulls + 1], np.delete(figures, slice(1, pipeline.nulls + 1), axis=0)
    p = max(_p_value(gaussian), _p_value(evenly))
    found = Stability(
        inits=float(inits.mean()),
        reached=float((inits > 1 - 1e-9).mean()),
        resampled=float(resampled[0]),
        separation=float(silhouettes(distances(points[0]), labels).mean()),
        null_resampled=figures[1:, 1],
        null_separation=figures[1:, 0],
        p=p,
        stable=p <= pipeline.alpha,
    )
    return found, jaccard[0]


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


def _tables(curves: Array, kinds: Sequence[bool | None], generator: np.random.Generator) -> Array:
    """The table at hand for None, else one without groups, even or not: (tables, layers, records)."""
    tables = [curves if even is None else without_groups(curves, generator, even=even) for even in kinds]
    return np.stack(tables)


def _space(tables: Array, pipeline: Pipeline) -> Array:
    return on_planes(tables) if pipeline.space == "pca" else tables


def _agreement_of_starts(points: Array, labels: Labels, pipeline: Pipeline, generator: np.random.Generator) -> Array:
    if pipeline.method == "hierarchical":
        return np.ones(1)
    copies = np.broadcast_to(points, (pipeline.inits, *points.shape))
    found = cluster_each(copies, int(labels.max()) + 1, pipeline.method, generator, starts=1)
    return adjusted_rand(contingency(np.broadcast_to(labels, found.shape), found))


def _figures_of(tables: Array, clusters: int | Choice, pipeline: Pipeline, generator: np.random.Generator) -> Array:
    """Separation and agreement over subsets, (tables, 2): the same way for the table at hand and for the others."""
    points = _space(tables, pipeline)
    if isinstance(clusters, int):
        counts = np.array([min(clusters, distinct(table)) for table in points])
    else:
        looked_at = on_planes(tables) if clusters == "elbow" else points
        counts = count_clusters(looked_at, clusters, pipeline, generator, starts=FEW_STARTS)
    found = np.zeros((len(tables), 2))  # one cluster: no groups seen where there are none
    for count in np.unique(counts[counts > 1]):
        taking = np.flatnonzero(counts == count)
        labels = cluster_each(points[taking], int(count), pipeline.method, generator, starts=FEW_STARTS)
        found[taking, 0] = silhouettes(distances(points[taking]), labels).mean(axis=-1)
        found[taking, 1] = _over_subsets(points[taking], labels, pipeline, generator)[0]
    return found


def _over_subsets(
    points: Array, labels: Labels, pipeline: Pipeline, generator: np.random.Generator
) -> tuple[Array, Array]:
    """For each table the mean adjusted Rand index over subsets, and of each cluster the mean largest Jaccard index."""
    tables, layers = labels.shape
    size = max(2, round(SUBSET * layers))
    shape = tables * pipeline.resamples, layers
    subsets = np.sort(generator.permuted(np.broadcast_to(np.arange(layers), shape), axis=1)[:, :size], axis=1)
    table = np.repeat(np.arange(tables), pipeline.resamples)[:, np.newaxis]
    count = int(labels.max()) + 1
    some = points[table, subsets]
    counts = np.array([min(count, distinct(subset)) for subset in some])
    found = np.empty(subsets.shape, dtype=np.int64)
    for few in np.unique(counts):
        taking = np.flatnonzero(counts == few)
        found[taking] = cluster_each(some[taking], int(few), pipeline.method, generator, starts=FEW_STARTS)
    shared = contingency(labels[table, subsets], found)
    shared = np.pad(shared, ((0, 0), (0, count - shared.shape[1]), (0, 0)))
    agreement = adjusted_rand(shared).reshape(tables, -1).mean(axis=1)
    overlaps = _jaccard(shared).reshape(tables, -1, count)
    seen = np.isfinite(overlaps).sum(axis=1)
    return agreement, np.where(seen > 0, np.nansum(overlaps, axis=1) / np.maximum(seen, 1), np.nan)


def _jaccard(shared: Array) -> Array:
    """For each cluster its largest Jaccard index with a cluster of the subset; NaN for one that the subset lacks."""
    either = shared.sum(axis=-1, keepdims=True) + shared.sum(axis=-2, keepdims=True) - shared
    best = np.max(shared / np.maximum(either, 1), axis=-1)
    return np.where(shared.any(axis=-1), best, np.nan)


def _p_value(figures: Array) -> float:
    """The share of tables whose ranks add up to as much as those of the first."""
    ranks = rankdata(figures, axis=0).sum(axis=1)
    return float((ranks >= ranks[0] - 1e-9).mean())
