"""Whether two figures put the same things in the same order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.stats import rankdata

Array = np.ndarray

TRIES: Final = 9999
"""Draws for the p-value; up to 7 pairs there are fewer orders than that, and all are tried."""

RESAMPLES: Final = 1999
CONFIDENCE: Final = 0.95

ROUNDING: Final = 1e-12
"""Two correlations of ranks that differ by less are the same one."""


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """Spearman's rank correlation of predicted and measured figures.

    Attributes:
        rho: -1 to 1; NaN where there are fewer than three pairs, or all of either are equal.
        p_value: chance that an order drawn at random agrees, or disagrees, as much.
        low: lower end of the 95 % interval.
        high: upper end.
        count: pairs, those left out that are not finite.
    """

    rho: float
    p_value: float
    low: float
    high: float
    count: int


def rank_agreement(
    predicted: Sequence[float] | Mapping[str, float],
    measured: Sequence[float] | Mapping[str, float],
    *,
    tries: int = TRIES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> RankAgreement:
    r"""Compare the order of predicted figures with that of measured ones.

    Spearman's \(\rho\): the correlation of ranks, equal ones sharing their mean rank.

    - Null: measured figures in random order. The p-value is two-sided, of all orders where there are no more than
      `tries` + 1 of them, or else (1 + hits) / (1 + tries).
    - Interval: percentiles of a bootstrap over pairs. It treats pairs as independent, which a network's layers are not
      quite; of fewer than ten pairs it is rough, and too short.

    Args:
        predicted: one figure a thing.
        measured: as many, in the same order; or both by name.
        tries: orders drawn.
        resamples: of the bootstrap.
        seed: of both.

    Returns:
        The correlation, its p-value and its interval.

    Raises:
        ValueError: there are not as many of the one as of the other, or their names differ.

    Example:
        >>> found = rank_agreement([1.0, 2.0, 8.0, 9.0, 30.0], [0.1, 0.2, 0.4, 0.3, 0.5])
        >>> round(found.rho, 3), round(found.p_value, 3), found.count
        (0.9, 0.083, 5)
    """
    pairs = _paired(predicted, measured)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    count = len(pairs)
    nothing = RankAgreement(math.nan, math.nan, math.nan, math.nan, count)
    if count < 3:
        return nothing
    one, other = rankdata(pairs.T, axis=1)
    rho = float(_correlations(one[None], other[None])[0])
    if math.isnan(rho):
        return nothing
    generator = np.random.default_rng(seed)
    if math.factorial(count) <= tries + 1:
        orders = np.array(list(permutations(other)))
    else:
        orders = np.vstack([other, generator.permuted(np.tile(other, (tries, 1)), axis=1)])
    hits = np.abs(_correlations(one[None], orders)) >= abs(rho) - ROUNDING
    drawn = pairs[generator.integers(count, size=(resamples, count))]
    ranks = rankdata(drawn, axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(_correlations(ranks[..., 0], ranks[..., 1]), [tail, 1 - tail])
    return RankAgreement(rho, float(hits.mean()), float(low), float(high), count)


def _paired(
    predicted: Sequence[float] | Mapping[str, float], measured: Sequence[float] | Mapping[str, float]
) -> Float64[Array, "pairs 2"]:
    """Both side by side."""
    if isinstance(predicted, Mapping) and isinstance(measured, Mapping):
        if predicted.keys() != measured.keys():
            message = f"one of the two has no {', '.join(sorted(predicted.keys() ^ measured.keys()))}"
            raise ValueError(message)
        return np.array([(predicted[name], value) for name, value in measured.items()], dtype=np.float64).reshape(-1, 2)
    if isinstance(predicted, Mapping) or isinstance(measured, Mapping) or len(predicted) != len(measured):
        message = f"give as many predicted figures as measured ones, not {len(predicted)} and {len(measured)}"
        raise ValueError(message)
    return np.column_stack([np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)])


def _correlations(
    one: Float64[Array, "rows pairs"], other: Float64[Array, "orders pairs"]
) -> Float64[Array, " orders"]:
    """Pearson's, row by row; NaN where all of a row are equal."""
    left, right = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (one, other))
    lengths = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        found: Float64[Array, " orders"] = (left * right).sum(axis=1) / lengths
    return found
