"""Banding types: what the slides of many layers cluster into, and each layer's share of each cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from jaxtyping import Float, Int64
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from weightatlas.banding.kernels import kernel_energies
from weightatlas.banding.score import shares as unit_shares
from weightatlas.banding.slides import unit_length
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import altair as alt
    import numpy.typing as npt

    from weightatlas.plate import Plate

Array = np.ndarray

BANDED_TYPE: Final = 0.6
"""A type is banded from this |B| of its centre on: between the article's plain and striped clusters."""

RESTARTS: Final = 10
"""k-means from as many seeded starts (k-means++); the tightest clustering is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class BandingTypes(Result):
    """Clusters of slides, for each kernel size its own.

    Attributes:
        centres: kernel size ("5x5") to the clusters' mean slides, float64 (k, h, w, factors).
        assignment: layer to the cluster of each of its units, int64 (units,).
        sizes: layer to its kernel size.
        scores: kernel size to the banding score of each centre, (k,): -1 to 1, 0 for a flat one.
        source: what was clustered, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "types": ("layer", "kernel", "type", "type_score", "share", "units", "skipped"),
    }

    centres: Mapping[str, Float[Array, "k h w factors"]]
    assignment: Mapping[str, Int64[Array, " units"]]
    sizes: Mapping[str, str]
    scores: Mapping[str, Float[Array, " k"]]
    source: str = "slides"

    def rows(self, table: str | None = None) -> list[Row]:
        """One row for each layer and type of its kernel size."""
        self.columns(table)
        return [row for layer in self.sizes for row in self.rows_of(layer)]

    def chart(self) -> alt.Chart:
        """Each layer's share of each type."""
        from weightatlas.banding.charts import types_chart

        return types_chart(self.rows())

    def plates(self) -> Sequence[Plate]:
        """The types, and what each layer is made of."""
        from weightatlas.banding.single_plates import types_plates

        return types_plates(self)

    def shares(self, layer: str) -> Float[Array, " k"]:
        """Share of a layer's units in each type of its kernel size; they add to 1."""
        return shares_of(self.assignment[layer], len(self.centres[self.sizes[layer]]))

    def overall(self, size: str) -> Float[Array, " k"]:
        """Share of all units of a kernel size in each type."""
        pooled = np.concatenate([self.assignment[layer] for layer in self.sizes if self.sizes[layer] == size])
        return shares_of(pooled, len(self.centres[size]))

    def banded_share(self, layer: str) -> tuple[float, float]:
        """Share of a layer's units in horizontally and in vertically banded types: centre B beyond .6 either way."""
        shares, scores = self.shares(layer), self.scores[self.sizes[layer]]
        return float(shares[scores > BANDED_TYPE].sum()), float(shares[scores < -BANDED_TYPE].sum())

    def rows_of(self, layer: str) -> Iterator[dict[str, Any]]:
        """One row for each type of the layer's kernel size."""
        size, units = self.sizes[layer], len(self.assignment[layer])
        for index, (share, score) in enumerate(zip(self.shares(layer), self.scores[size], strict=True)):
            yield {
                "layer": layer,
                "kernel": size,
                "type": index,
                "type_score": float(score),
                "share": float(share),
                "units": units,
                "skipped": None,
            }


def types(slides_by_layer: Mapping[str, npt.ArrayLike], *, types: int = 11, seed: int = 0) -> BandingTypes:
    r"""Cluster the slides of many layers, pooled by kernel size.

    Every unit's slide is scaled to Euclidean length 1 and all layers' units of one kernel size are clustered by
    k-means, \(\min \sum_u \|s_u - m_{a(u)}\|^2\): k-means++ from 10 seeded starts, the tightest kept. A type's score
    is the banding score b of its centre, factors in the channels' place; types are numbered from the most horizontal
    to the most vertical.

    Args:
        slides_by_layer: any names (a layer, or a run and a layer) to images or factors (units, h, w, factors).
        types: clusters of each kernel size; fewer where fewer different slides exist.
        seed: of the starts.

    Returns:
        Centres, assignments and scores; a unit without weights (a black slide) is in no type, -1.

    Raises:
        ValueError: no layers, slides that are not (units, h, w, factors) or not finite, different numbers of factors
            in one kernel size, or no types.

    **Source:** Petrov et al., *Weight Banding* (Distill, 2021), figure 12: k-means on normalised reduced weights of 34
    layers, k from 4 to 19.

    Example:
        >>> rows = np.zeros((6, 3, 3, 3))
        >>> rows[:, 0, :, 0] = rows[:, 2, :, 2] = 1
        >>> found = types({"conv1": rows, "conv2": rows.swapaxes(1, 2)}, types=2)
        >>> found.banded_share("conv1"), found.banded_share("conv2")
        ((1.0, 0.0), (0.0, 1.0))
    """
    if types < 1 or not slides_by_layer:
        message = "types needs at least one layer of slides and one type"
        raise ValueError(message)
    maps = {layer: _checked(layer, images) for layer, images in slides_by_layer.items()}
    sizes = {layer: f"{stack.shape[1]}x{stack.shape[2]}" for layer, stack in maps.items()}
    centres: dict[str, npt.NDArray[np.float64]] = {}
    assignment: dict[str, npt.NDArray[np.int64]] = {}
    for size in dict.fromkeys(sizes.values()):
        layers = [layer for layer in maps if sizes[layer] == size]
        if len({maps[layer].shape[3] for layer in layers}) > 1:
            message = f"the slides of {size} kernels have different numbers of factors; give each number its own call"
            raise ValueError(message)
        pooled = unit_length(np.concatenate([maps[layer] for layer in layers]))
        centres[size], labels = _cluster(pooled, types, seed)
        ends = np.cumsum([len(maps[layer]) for layer in layers])
        assignment |= dict(zip(layers, np.split(labels, ends[:-1]), strict=True))
    ordered = {layer: assignment[layer] for layer in maps}
    return BandingTypes(centres, ordered, sizes, {size: centre_scores(stack) for size, stack in centres.items()})


def given_types(centres: npt.ArrayLike, assignment: Mapping[str, npt.ArrayLike]) -> BandingTypes:
    """Types that someone else has found: their scores and shares from centres and assignments alone.

    Args:
        centres: (k, h, w, factors).
        assignment: layer to each unit's cluster, 0 to k - 1, or -1 for none.

    Raises:
        ValueError: an assignment beyond the centres.

    Example:
        >>> centres = np.zeros((2, 2, 2, 1))
        >>> centres[0, 0] = centres[1, :, 0] = 1  # a row, a column
        >>> given_types(centres, {"conv": [0, 0, 0, 1]}).banded_share("conv")
        (0.75, 0.25)
    """
    stack = _checked("centres", centres)
    labels = {layer: np.asarray(units, np.int64) for layer, units in assignment.items()}
    for layer, units in labels.items():
        if units.size and not -1 <= units.min() <= units.max() < len(stack):
            message = (
                f"{layer} is assigned to clusters {units.min()} to {units.max()}, and there are {len(stack)} centres"
            )
            raise ValueError(message)
    size = f"{stack.shape[1]}x{stack.shape[2]}"
    return BandingTypes({size: stack}, labels, dict.fromkeys(labels, size), {size: centre_scores(stack)})


def centre_scores(centres: Float[Array, "k h w factors"]) -> Float[Array, " k"]:
    """Banding score b of each slide; 0 for a flat one, which has no direction."""
    energies = kernel_energies(np.moveaxis(centres, 3, 1))
    scores: Array = unit_shares(energies.rows - energies.columns, energies.total, axis=1, average="unit")
    known: Array = np.nan_to_num(scores)
    return known


def shares_of(labels: Int64[Array, " units"], count: int) -> Float[Array, " k"]:
    """Share of units in each of `count` clusters, among those that are in one; zeros if none is."""
    tally = np.bincount(labels[labels >= 0], minlength=count)
    parts: Array = tally / max(tally.sum(), 1)
    return parts


def _cluster(
    pooled: Float[Array, "units h w factors"], count: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Centres from the most horizontal to the most vertical, and each unit's; -1 for zero slides."""
    flat = pooled.reshape(len(pooled), -1)
    drawn = flat.any(axis=1)
    labels = np.full(len(pooled), -1, np.int64)
    if not drawn.any():
        return np.zeros((0, *pooled.shape[1:])), labels
    clusters = min(count, len(np.unique(flat[drawn], axis=0)))
    with threadpool_limits(1):  # threads add up in the order they end, and so would round differently each time
        found = KMeans(clusters, n_init=RESTARTS, random_state=seed).fit(flat[drawn])
    centres = found.cluster_centers_.reshape(clusters, *pooled.shape[1:])
    order = np.argsort(-centre_scores(centres), kind="stable")
    labels[drawn] = np.argsort(order)[found.labels_]
    return centres[order], labels


def _checked(layer: str, images: npt.ArrayLike) -> npt.NDArray[np.float64]:
    stack = np.asarray(images, np.float64)
    if stack.ndim != 4 or stack.size == 0 or not np.isfinite(stack).all():
        message = f"{layer}: slides are finite numbers (units, h, w, factors), got shape {stack.shape}"
        raise ValueError(message)
    return stack
