"""Whether later layers change more, and whether they still do given their sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

LEAST_LAYERS: Final = 5
"""With four layers no correlation of ranks reaches 5 %: 2 of their 24 orders are as extreme as the most extreme."""


@dataclass(frozen=True, slots=True)
class DepthTrend:
    """How the change of layers goes with their depth and their size.

    Attributes:
        layers: how many layers the figures rest on.
        with_depth: Spearman's rank correlation of change with depth, -1 to 1.
        with_size: of change with size.
        size_with_depth: of size with depth: how far the two are confounded.
        partial: of change with depth given size.
        p: of `partial`: share of permutations, the data counted among them, whose value is at least as far from 0.
        interval: bootstrap interval of `partial` at `confidence`.
        confidence: of the interval.
        reason: why figures are missing (then NaN), or None.
    """

    layers: int
    with_depth: float
    with_size: float
    size_with_depth: float
    partial: float
    p: float
    interval: tuple[float, float]
    confidence: float = 0.95
    reason: str | None = None


def depth_trend(
    change: npt.ArrayLike,
    depth: npt.ArrayLike,
    size: npt.ArrayLike,
    *,
    permutations: int = 1999,
    resamples: int = 1999,
    confidence: float = 0.95,
    seed: int = 0,
) -> DepthTrend:
    """Correlate the change of layers with their depth, given their size.

    With a, b, c the ranks of change, depth and size, and a', b' the residuals of a and b after linear regression on c,
    the partial correlation is that of a' and b'. Size is given because it grows with depth in most networks: where
    change goes with size alone, it seems to go with depth.

    Args:
        change: (layers,) of each layer, such as its median relative weight change; NaN is left out.
        depth: (layers,) such as the position in the network.
        size: (layers,) such as the number of weights. Ranks are compared: a logarithm changes nothing.
        permutations: of the null.
        resamples: of the bootstrap over layers.
        confidence: of the bootstrap interval, by its percentiles.
        seed: of both.

    Returns:
        The correlations, each from -1 to 1. Those of a constant quantity are NaN, with the reason.

    **Null:** given size, change does not go with depth. The residuals a' are permuted among the layers, added to what
    size explains, and taken through the same regression (Freedman and Lane).

    Raises:
        ValueError: the three differ in length, or an option is out of range.

    **Source:** the claim is WeightScale's (Agrawal et al. 2022), section 4: later layers change more on harder tasks.
    It gives no test. In the published arrays Spearman's correlation of the median change is .65 to .78 with depth, and
    .81 to .89 with size: the trend is confounded. Permutation: Freedman, Lane 1983.

    Example:
        >>> size = np.arange(20) // 2
        >>> found = depth_trend(size + np.tile([0.1, 0.2, 0.2, 0.1], 5), np.arange(20), size)
        >>> round(found.with_depth, 2), round(found.partial, 2), found.p > 0.05
        (0.99, 0.0, True)
    """
    columns = [np.asarray(values, dtype=np.float64) for values in (change, depth, size)]
    if len({values.shape for values in columns}) != 1 or columns[0].ndim != 1:
        message = f"change, depth and size have a value a layer; got {', '.join(str(part.shape) for part in columns)}"
        raise ValueError(message)
    if permutations < 1 or resamples < 1 or not 0 < confidence < 1:
        message = "permutations and resamples are 1 or more, confidence lies between 0 and 1"
        raise ValueError(message)
    data = np.stack(columns)
    data = data[:, ~np.isnan(data).any(axis=0)]
    if data.shape[1] < LEAST_LAYERS:
        return _missing(data, f"only {data.shape[1]} layers are known; a trend takes {LEAST_LAYERS}", confidence)
    a, b, c = (_centred(rankdata(row)) for row in data)
    of_change, of_depth = _given(a, c), _given(b, c)
    partial = float(_correlation(of_change, of_depth))
    if math.isnan(partial):
        return _missing(data, "size alone settles the order of the layers in depth or change", confidence)
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(of_change, (permutations, 1)), axis=1)
    null = np.abs(_correlation(_given(a - of_change + shuffled, c), of_depth))
    return DepthTrend(
        layers=data.shape[1],
        with_depth=float(_correlation(a, b)),
        with_size=float(_correlation(a, c)),
        size_with_depth=float(_correlation(b, c)),
        partial=partial,
        p=float((1 + np.sum(null >= abs(partial) - 1e-12)) / (1 + permutations)),
        interval=_interval(data, resamples, confidence, generator),
        confidence=confidence,
    )


def _missing(data: Array, reason: str, confidence: float) -> DepthTrend:
    nothing = math.nan
    a, b, c = (_centred(rankdata(row)) for row in data)
    return DepthTrend(
        layers=data.shape[1],
        with_depth=float(_correlation(a, b)),
        with_size=float(_correlation(a, c)),
        size_with_depth=float(_correlation(b, c)),
        partial=nothing,
        p=nothing,
        interval=(nothing, nothing),
        confidence=confidence,
        reason=reason,
    )


def _interval(data: Array, resamples: int, confidence: float, generator: np.random.Generator) -> tuple[float, float]:
    """Percentiles over layers drawn with replacement; draws in which a quantity is constant say nothing."""
    drawn = generator.integers(data.shape[1], size=(resamples, data.shape[1]))
    a, b, c = (_centred(rankdata(row[drawn], axis=-1)) for row in data)
    values = _correlation(_given(a, c), _given(b, c))
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _centred(ranks: Array) -> Array:
    middle: Array = ranks - (ranks.shape[-1] + 1) / 2  # with ties, too
    return middle


def _given(values: Array, known: Array) -> Array:
    """What linear regression of centred values on centred values leaves; all of it where those are constant."""
    size = np.square(known).sum(axis=-1, keepdims=True)
    slope = (values * known).sum(axis=-1, keepdims=True) / np.where(size > 0, size, 1)
    rest: Array = values - slope * known
    return rest


def _correlation(first: Array, second: Array) -> Array:
    """Of centred values; NaN where either is constant, but for rounding."""
    length = first.shape[-1] if first.ndim else 1
    sizes = np.sqrt(np.square(first).sum(axis=-1)), np.sqrt(np.square(second).sum(axis=-1))
    known = (sizes[0] > 1e-9 * length) & (sizes[1] > 1e-9 * length)
    size = np.where(known, sizes[0] * sizes[1], 1)
    found: Array = np.where(known, np.clip((first * second).sum(axis=-1) / size, -1, 1), np.nan)
    return found
