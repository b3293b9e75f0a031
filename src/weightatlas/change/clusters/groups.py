"""What is known of layers that were clustered together: of each layer, of each cluster, of the group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weightatlas.change.clusters.scree import Scree
    from weightatlas.change.clusters.stability import Stability


@dataclass(frozen=True, slots=True)
class LayerTrend:
    """What one layer moves like.

    Attributes:
        name: of the layer.
        group: the layers it was compared with, by the name of their `LayerGroup`.
        cluster: the number of its cluster; None where the layer was left out.
        reason: why it was left out, or None.
        outlier: what sets it apart, in a sentence: single values that were replaced, or a curve unlike all others.
        replaced: positions of the records whose values were missing or outliers and were replaced.
        coordinates: its first two principal components; (NaN, NaN) where it has none. A layer that was left out as an
            outlier has them too.
        silhouette: how much nearer it is to its own cluster than to the next, -1 to 1; NaN without two clusters.
    """

    name: str
    group: str
    cluster: int | None
    reason: str | None
    outlier: str | None
    replaced: tuple[int, ...]
    coordinates: tuple[float, float]
    silhouette: float


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Layers that move alike.

    Attributes:
        number: of the cluster, counted over all groups; within a group, 0 (or the lowest) moves most, by `change`.
        group: the layers it is part of.
        layers: positions of its layers in the table.
        centre: (records,) the median of its layers' curves, in their own units, outliers not replaced.
        coordinates: the mean of its layers' first two principal components.
        change: the median of `centre` over records.
        silhouette: mean over its layers; NaN without two clusters.
        stability: how much of it is found again in subsets of the layers: the mean of the largest Jaccard index with a
            cluster of the subset, 0 to 1; NaN where it was not tried. Above .75 is customarily called stable.
    """

    number: int
    group: str
    layers: tuple[int, ...]
    centre: npt.NDArray[np.float64]
    coordinates: tuple[float, float]
    change: float
    silhouette: float
    stability: float


@dataclass(frozen=True, slots=True, eq=False)
class LayerGroup:
    """Layers that were clustered together.

    Attributes:
        name: "all", or the role they share.
        layers: positions of its layers in the table, those left out among them.
        fitted: positions of those that were clustered.
        clusters: the one that moves most first.
        explained: the share of the variance that each of the two principal components holds.
        chosen: how the number of clusters was chosen, in a sentence.
        scree: what each number of clusters would have given; None where there is one cluster by force.
        stability: whether the clusters would be found again, beside tables without groups; None likewise.
    """

    name: str
    layers: tuple[int, ...]
    fitted: tuple[int, ...]
    clusters: tuple[Cluster, ...]
    explained: tuple[float, float]
    chosen: str
    scree: Scree | None = None
    stability: Stability | None = None

    @property
    def stable(self) -> bool:
        """Whether the clusters are more than what a table without groups gives; False where it was not tried."""
        return self.stability is not None and self.stability.stable
