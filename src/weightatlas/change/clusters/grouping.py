"""The clusters of one group of layers: which take part, how many clusters, which layer is in which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.change.clusters.clustering import cluster, distances, distinct, on_plane, principal_plane, silhouettes
from weightatlas.change.clusters.groups import Cluster, LayerGroup, LayerTrend
from weightatlas.change.clusters.outlying import outlier_factors
from weightatlas.change.clusters.scree import scree
from weightatlas.change.clusters.stability import stability
from weightatlas.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.change.clusters.pipeline import Choice, Pipeline
    from weightatlas.change.clusters.preparing import Prepared, Table
    from weightatlas.change.clusters.scree import Scree
    from weightatlas.change.clusters.stability import Stability

    Array = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]

LEAST_LAYERS: Final = 4
"""Fewer layers are one cluster: two pairs are the least that could be told from chance."""

_CHOSEN: Final = {
    "elbow": "at the elbow of the scree on two principal components",
    "silhouette": "by the best mean silhouette",
    "bic": "by the lowest Bayesian information criterion",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """The clusters of the layers that take part: labels in their order."""

    labels: Labels
    silhouettes: Array
    chosen: str
    scree: Scree | None = None
    stability: Stability | None = None
    jaccard: Array | None = None


def group_of(
    name: str,
    positions: Sequence[int],
    table: Table,
    prepared: Prepared,
    *,
    pipeline: Pipeline,
    clusters: int | Choice,
    first: int,
    seed: int,
) -> tuple[LayerGroup, dict[int, LayerTrend]]:
    """Cluster one group of layers.

    Args:
        name: of the group.
        positions: of its layers in the table.
        table: the curves as they were given.
        prepared: the same, prepared.
        pipeline: the steps and their options.
        clusters: how many, or how to choose.
        first: the number of the first cluster.
        seed: of every draw.

    Returns:
        The group, and by its position what each of its layers moves like.
    """
    taking = np.array([position for position in positions if position not in prepared.left_out], dtype=np.int64)
    values = prepared.curves[taking]
    order = np.lexsort(values.T[::-1])  # by their values: the outcome must not hang on the order of the table
    taking, values = taking[order], values[order]
    factors = outlier_factors(values) if pipeline.outliers == "name" else np.ones(len(taking))
    is_apart = factors > pipeline.outlier_cut
    fitted, points = taking[~is_apart], values[~is_apart]
    fit = _fit(points, clusters, pipeline, seed)
    coordinates, explained = _coordinates(points, values)
    place = {int(position): (float(row[0]), float(row[1])) for position, row in zip(taking, coordinates, strict=True)}
    found = _clusters(name, fitted, fit, table, place, first=first)
    number = {position: part.number for part in found for position in part.layers}
    silhouette = dict(zip(map(int, fitted), map(float, fit.silhouettes), strict=True))
    apart = {
        int(position): _apart(table.curves, int(position), taking, float(factor))
        for position, factor in zip(taking[is_apart], factors[is_apart], strict=True)
    }
    layers = {}
    for position in positions:
        outliers = [sentence for sentence in (apart.get(position), _spikes(table, prepared, position)) if sentence]
        layers[position] = LayerTrend(
            name=table.names[position],
            group=name,
            cluster=number.get(position),
            reason=prepared.left_out.get(position, apart.get(position)),
            outlier="; ".join(outliers) or None,
            replaced=tuple(map(int, np.flatnonzero(prepared.replaced[position]))),
            coordinates=place.get(position, (math.nan, math.nan)),
            silhouette=silhouette.get(position, math.nan),
        )
    group = LayerGroup(
        name=name,
        layers=tuple(positions),
        fitted=tuple(sorted(map(int, fitted))),
        clusters=found,
        explained=explained,
        chosen=fit.chosen,
        scree=fit.scree,
        stability=fit.stability,
    )
    return group, layers


def _fit(points: Array, clusters: int | Choice, pipeline: Pipeline, seed: int) -> _Fit:
    one = np.zeros(len(points), dtype=np.int64), np.full(len(points), math.nan)
    if len(points) < LEAST_LAYERS:
        return _Fit(*one, f"not split: {counted(len(points), 'layer')}, and clusters need {LEAST_LAYERS}")
    if distinct(points) == 1:
        return _Fit(*one, "not split: the curves of all layers are the same")
    tried = scree(points, clusters, pipeline, seed=seed)
    space = on_plane(principal_plane(points), points) if pipeline.space == "pca" else points
    labels = cluster(space, tried.taken, pipeline.method, seed=seed)
    chosen = _chosen(clusters, tried.taken)
    if not 2 <= labels.max() + 1 < len(points):
        return _Fit(*one, chosen, tried) if not labels.any() else _Fit(labels, one[1], chosen, tried)
    trust, jaccard = stability(points, labels, clusters, pipeline, seed=seed)
    return _Fit(labels, silhouettes(distances(space), labels), chosen, tried, trust, jaccard)


def _chosen(clusters: int | Choice, taken: int) -> str:
    if not isinstance(clusters, int):
        return f"{counted(taken, 'cluster')}, {_CHOSEN[clusters]}"
    if taken < clusters:
        return f"{counted(taken, 'cluster')}: {clusters} were asked for, and no more layers differ"
    return f"{counted(taken, 'cluster')}, as asked for"


def _coordinates(points: Array, values: Array) -> tuple[Array, tuple[float, float]]:
    """Principal components of the layers that take part, and where all layers of the group lie on them."""
    if len(points) < 2 or distinct(points) == 1:
        return np.full((len(values), 2), math.nan), (math.nan, math.nan)
    plane = principal_plane(points)
    shares = [*map(float, plane.explained_variance_ratio_), 0.0]
    return on_plane(plane, values), (shares[0], shares[1])


def _clusters(
    group: str, fitted: Labels, fit: _Fit, table: Table, place: dict[int, tuple[float, float]], *, first: int
) -> tuple[Cluster, ...]:
    """The clusters, the one that moves most first."""
    parts = []
    for label in range(int(fit.labels.max(initial=-1)) + 1):
        inside = fit.labels == label
        members = [int(position) for position in fitted[inside]]
        curves = table.curves[members]
        centre = _median(np.where(np.isfinite(curves), curves, math.nan))
        change = float(np.median(centre[np.isfinite(centre)]))
        parts.append((change, label, members, centre, float(fit.silhouettes[inside].mean())))
    parts.sort(key=lambda part: (-part[0], part[1]))
    return tuple(
        Cluster(
            number=first + rank,
            group=group,
            layers=tuple(sorted(members)),
            centre=centre,
            coordinates=(_mean(place, members, 0), _mean(place, members, 1)),
            change=change,
            silhouette=silhouette,
            stability=math.nan if fit.jaccard is None else float(fit.jaccard[label]),
        )
        for rank, (change, label, members, centre, silhouette) in enumerate(parts)
    )


def _median(curves: Array) -> Array:
    """The median over layers of what is known; NaN for a record of which nothing is."""
    known = np.isfinite(curves).any(axis=0)
    middle = np.full(curves.shape[1], math.nan)
    middle[known] = np.nanmedian(curves[:, known], axis=0)
    return middle


def _mean(place: dict[int, tuple[float, float]], members: list[int], axis: int) -> float:
    return float(np.mean([place[member][axis] for member in members]))


def _apart(curves: Array, position: int, taking: Labels, factor: float) -> str:
    """Why a layer is like no other."""
    middles = _median(np.where(np.isfinite(curves[taking]), curves[taking], math.nan).T)
    usual = float(np.median(middles))
    own = float(middles[list(taking).index(position)])
    sentence = f"moves like no other layer: {factor:.2g} times further from its neighbours than they from theirs"
    if not own:
        return f"{sentence}; its median change is 0"
    return f"{sentence}, with {own / usual:.2g} times the median layer's change" if usual > 0 else sentence


def _spikes(table: Table, prepared: Prepared, position: int) -> str | None:
    found = [table.records[record] for record in np.flatnonzero(prepared.spikes[position])]
    if not found:
        return None
    shown = found if len(found) <= 5 else [*found[:4], f"{len(found) - 4} more"]
    return f"stands out from its own curve at {'record' if len(found) == 1 else 'records'} {listed(shown)}"
