"""How surely a channel is seldom positive: bounds of a share that so many examples allow, and the Gaussian null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import special

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Of each bound by itself."""


def share_bounds(shares: npt.ArrayLike, units: int) -> tuple[Array, Array]:
    r"""Bound the true share of positive values of each channel, from below and from above, with 95 % each.

    Clopper and Pearson's bounds with the sum of the units' shares k = n p in place of a count: quantiles of Beta(k,
    n - k + 1) and of Beta(k + 1, n - k). They are exact where a unit is all positive or not at all. Shares in
    between scatter less than such counts of the same mean (Hoeffding, 1963, orders their convex functions), so that
    in practice the bounds are wide rather than narrow there. A channel that was never positive in n examples has
    the upper bound 1 - 0.05^(1/n), about 3 / n.

    Args:
        shares: mean share of positive values over the units, 0 to 1, any shape.
        units: independent examples, or batches, n.

    Returns:
        Lower and upper bounds, as `shares`.

    **Source:** Clopper and Pearson, "The use of confidence or fiducial limits" (1934); Hoeffding, "Probability
    inequalities for sums of bounded random variables" (1963).

    Example:
        >>> low, high = share_bounds(0.0, 299)
        >>> float(low), round(float(high), 3)
        (0.0, 0.01)
    """
    count = np.asarray(shares, np.float64) * units
    tail = 1 - CONFIDENCE
    with np.errstate(invalid="ignore"):
        low = np.where(count <= 0, 0.0, special.betaincinv(count, units - count + 1, tail))
        high = np.where(count >= units, 1.0, special.betaincinv(count + 1, units - count, 1 - tail))
    unknown = np.isnan(count)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def units_to_show(threshold: float) -> int:
    """How many examples without a positive value show, at 95 %, that the share is below a threshold.

    Example:
        >>> units_to_show(1e-3)
        2995
    """
    return int(np.ceil(np.log(1 - CONFIDENCE) / np.log1p(-threshold)))


def gaussian_positive(mean: npt.ArrayLike, std: npt.ArrayLike) -> Array:
    """P(x > 0) of a Gaussian channel, Phi(mean / std): the null model of a channel's share of positive values.

    Args:
        mean: of each channel.
        std: of each channel, 0 or more; a channel that does not vary is positive always or never.

    Example:
        >>> gaussian_positive([0.0, -1.0, 2.0], [1.0, 1.0, 0.0]).round(3)
        array([0.5  , 0.159, 1.   ])
    """
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(std > 0, special.ndtr(mean / std), (mean > 0).astype(np.float64))
    return np.where(np.isnan(mean) | np.isnan(std), np.nan, share)
