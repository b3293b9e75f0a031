"""Families of units by clustering, from features that do not give the branch away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

from weightatlas.branching.gathering.family_features import (
    expanded_rows,
    figures_of_tuning,
    missing_at_random,
    of_one_size,
)
from weightatlas.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import torch

    from weightatlas.branching.gathering.membership import Branched

    Array = npt.NDArray[np.float64]
    Values = torch.Tensor | npt.ArrayLike

Kind = Literal["tuning", "expanded"]
Method = Literal["k-means", "spectral"]

MOST: Final = 10
"""The most clusters that are tried where their number is not given."""


@dataclass(frozen=True, slots=True, eq=False)
class FamilyClusters:
    """Units of a layer in clusters.

    Attributes:
        labels: (units,) cluster of each unit, -1 where a feature of it is missing.
        count: how many clusters.
        silhouette: mean silhouette, -1 to 1, how far the clusters stand apart; NaN where there is one.
        kind: what the features are.
        notes: what was left out, one sentence each.
    """

    labels: npt.NDArray[np.int64]
    count: int
    silhouette: float
    kind: Kind
    notes: tuple[str, ...] = ()

    @property
    def families(self) -> dict[str, npt.NDArray[np.int64]]:
        """The units of each cluster, as `specialization` takes them."""
        return {f"cluster {place + 1}": np.flatnonzero(self.labels == place) for place in range(self.count)}


def cluster_families(
    features: Values | Mapping[str, Values] | Sequence[Values],
    *,
    kind: Kind,
    count: int | None = None,
    method: Method = "k-means",
    branches: Mapping[str, Iterable[int]] | Branched | int | None = None,
    kernels: Iterable[tuple[int, int]] = (),
    seed: int = 0,
) -> FamilyClusters:
    """Make families of units by clustering features of theirs.

    A test of families against branches says something only if the families were made without sight of the branch.
    Kernels of different sizes, or vectors in bottlenecks of different channels, tell the branch by their shape alone,
    and every branch then comes out significant. So two kinds of features are taken:

    - "tuning": figures of each unit, one column a figure, each scaled to mean 0 and variance 1. Orientation must come
      as a doubled angle (its cosine and sine): `tuning_features` does. Frequency, selectivity and whatever else
      resolves finer in a larger kernel must be measured on kernels cut to one size: `common_kernels`.
    - "expanded": expanded weights of one crop, each unit scaled to norm 1, so that fan-in does not tell the branch.

    Permuted branch labels give uniform p with either. Kernels of one layer cut to one size carry no trace of the branch
    where weights are random. Expanded weights do, faintly: a sum over more paths is smoother. Over 60 networks of
    random weights, 1x1, 3x3 and 5x5 over a 7x7 stem cut to 7x7, 5x5 or 3x3, clusters of expanded weights rejected in
    12 to 15 % at a level of 5 %, clusters of their tuning in 0 to 3 %: of deep layers prefer tuning.

    Args:
        features: "tuning": (units, figures), or a mapping from a figure's name to (units,). "expanded": (units,
            channels, h, w), or a sequence of such, a branch each, that share all but the first size.
        kind: what the features are.
        count: of clusters; by default that of the largest silhouette among 2 to 10.
        method: k-means of ten starts, or spectral clustering of Gaussian similarities as wide as the median distance.
        branches: of the units, as in `specialization`; needed where features are missing (NaN), to see that they are
            not missing in some branches more than in others.
        kernels: "tuning": the sizes of the kernels that were measured, each at least once; more than one is refused.
        seed: of the starts.

    Returns:
        A cluster for each unit with all of its features. Equal features give one cluster.

    Raises:
        SourceError: the features reveal the branch: kernels or crops of different size or extent, or values that are
            missing in some branches more than in others (p < .05).
        ValueError: the features are of another kind or form, or an option is none of those it can be.

    **Source:** the article sorts units by eye; silhouette: Rousseeuw (1987).

    Example:
        >>> values = {"chroma": [0.0, 0.1, 0.9, 1.0], "frequency": [0.3, 0.31, 0.1, 0.12]}
        >>> cluster_families(values, kind="tuning", count=2).labels
        array([0, 0, 1, 1])
    """
    if kind not in get_args(Kind):
        message = (
            f"families cannot be made from {kind!r}: the shape of raw kernels and the channels of a bottleneck reveal "
            "the branch, and every branch would be significant; kind must be 'tuning' or 'expanded'"
        )
        raise ValueError(message)
    if method not in get_args(Method):
        message = f"method must be one of {', '.join(get_args(Method))}, not {method!r}"
        raise ValueError(message)
    if kind == "tuning":
        of_one_size(kernels)
        table = figures_of_tuning(features)
    else:
        table = expanded_rows(features)
    known = np.isfinite(table).all(axis=1)
    notes = []
    if not known.all():
        missing_at_random(~np.isfinite(table), branches)
        notes.append(f"{counted(int(np.count_nonzero(~known)), 'unit')} without all features: in no family")
    points = _scaled(table[known]) if kind == "tuning" else _normed(table[known])
    places, found = _clustered(points, count, method, seed)
    labels = np.full(len(table), -1, dtype=np.int64)
    labels[known] = _in_order(places)
    return FamilyClusters(labels, int(labels.max(initial=-1)) + 1, found, kind, tuple(notes))


def _scaled(table: Array) -> Array:
    """Every figure to mean 0 and variance 1; one that is the same in all units stays 0."""
    if not len(table):
        return table
    spread = table.std(axis=0)
    centred = table - table.mean(axis=0)
    scaled: Array = np.divide(
        centred, spread, out=np.zeros_like(table), where=spread > 1e-12 * np.abs(table).max(axis=0)
    )
    return scaled


def _normed(table: Array) -> Array:
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    normed: Array = np.divide(table, norms, out=np.zeros_like(table), where=norms > 0)
    return normed


def _clustered(points: Array, count: int | None, method: Method, seed: int) -> tuple[npt.NDArray[np.int64], float]:
    """The cluster of each point, and the silhouette."""
    distinct = len(np.unique(points, axis=0))
    if count is not None and not 1 <= count <= max(1, len(points)):
        message = f"count must be from 1 to the {counted(len(points), 'unit')} with features, not {count}"
        raise ValueError(message)
    if distinct < 2 or count == 1:
        return np.zeros(len(points), dtype=np.int64), float("nan")
    counts = range(2, min(MOST, distinct - 1) + 1) if count is None else [min(count, distinct)]
    best = np.arange(len(points)), -np.inf
    with threadpool_limits(limits=1):  # sums of several threads end in other digits
        for tried in counts or [distinct]:
            places = _partition(points, tried, method, seed)
            value = float(silhouette_score(points, places)) if tried < len(points) else float("nan")
            if not value <= best[1]:
                best = places, value
    return best


def _partition(points: Array, count: int, method: Method, seed: int) -> npt.NDArray[np.int64]:
    if method == "spectral":
        squares = euclidean_distances(points, squared=True)
        middle = float(np.median(squares[np.triu_indices(len(points), 1)])) or float(squares.max())
        model = SpectralClustering(count, affinity="precomputed", random_state=seed, assign_labels="kmeans")
        points = np.exp(-squares / (2 * middle))
    else:
        model = KMeans(count, n_init=10, random_state=seed)
    places: npt.NDArray[np.int64] = model.fit_predict(points).astype(np.int64)
    return places


def _in_order(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Clusters numbered by their first unit."""
    _, first, inverse = np.unique(places, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.ravel()]
