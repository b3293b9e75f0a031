"""How high the loss along a line rises above its ends, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy import stats

from weightatlas.connectivity.scoring.refinement import upper_bounds

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Reference = Literal["chord", "mean"]

DRAWS: Final = 10_000
"""Of the largest deviation: its quantile is then known to a hundredth."""


@dataclass(frozen=True, slots=True, eq=False)
class Height:
    """How high a curve rises above its reference.

    Attributes:
        height: the maximum over all points that were computed, ends included; NaN where there are none.
        alpha: where that is.
        low: lower end of its interval over the data.
        high: upper end.
        midpoint: the rise at alpha = 1/2.
        midpoint_low: lower end of its interval over the data.
        midpoint_high: upper end.
        resolution: how far the height may be below the maximum over all alpha, if the curve bends one way between
            neighbouring points: see `refinement.upper_bounds`. Infinite where a point is not finite.
    """

    height: float
    alpha: float
    low: float
    high: float
    midpoint: float
    midpoint_low: float
    midpoint_high: float
    resolution: float


def reference_line(values: Array, alphas: Array, reference: Reference) -> Array:
    """What a curve (points,) or each of several, (points, n), is measured against, of the same shape."""
    first, last = values[0], values[-1]
    if reference == "mean":
        return np.broadcast_to((first + last) / 2, values.shape)
    shares = alphas.reshape(-1, *[1] * (values.ndim - 1))
    chord: Array = first + shares * (last - first)
    chord[-1] = last
    return chord


def height(alphas: Array, values: Array, *, reference: Reference, confidence: float, seed: int) -> Height:
    """Height of the mean of several curves, and its interval over them.

    Args:
        alphas: (points,), ascending from 0 to 1, with 1/2 among them.
        values: (points, examples); a point with NaN counts for nothing.
        reference: "chord" or "mean".
        confidence: of the interval.
        seed: of the draws of its width.
    """
    above = values - reference_line(values, alphas, reference)
    finite = np.asarray(np.isfinite(above).all(axis=1))
    if not (finite[0] and finite[-1]):
        return _unknown()
    means = above[finite].mean(axis=1)
    low, high = band_of_maximum(above[finite], confidence=confidence, seed=seed)
    best = int(means.argmax())
    middle = above[int(np.abs(alphas - 0.5).argmin())]
    margin = float(stats.t.ppf((1 + confidence) / 2, max(len(middle) - 1, 1)) * _error(middle[None])[0])
    bound = float(upper_bounds(alphas[finite], means).max()) if finite.all() else math.inf
    return Height(
        height=float(means[best]),
        alpha=float(alphas[finite][best]),
        low=low,
        high=high,
        midpoint=float(middle.mean()),
        midpoint_low=float(middle.mean()) - margin,
        midpoint_high=float(middle.mean()) + margin,
        resolution=bound - float(means[best]),
    )


def _unknown() -> Height:
    """The height of a curve without ends."""
    nothing = math.nan
    return Height(nothing, nothing, nothing, nothing, nothing, nothing, nothing, math.inf)


def band_of_maximum(above: Array, *, confidence: float, seed: int) -> tuple[float, float]:
    r"""An interval for the largest of several means over the same examples.

    With means \(m_j\) of standard errors \(s_j\), \(c\) is the quantile of \(\max_j t_j\), t normal with the points'
    own correlations; the interval runs from \(\max_j (m_j - c s_j)\) to \(\max_j (m_j + c s_j)\). All true means lie in
    the band with the confidence asked for, so their maximum lies in the interval, at whichever point it is. Resampling
    examples and taking each sample's maximum does less: the largest of several noisy means is too high on average, and
    where the curve is flat that interval excludes the truth too often (`tests/connectivity/scoring/test_heights.py`
    counts).
    Drawing t is the bootstrap with normal weights, in the space of the points instead of that of the examples. The
    price: where several points are nearly as high the interval is wider than it need be.

    Args:
        above: (points, examples).
        confidence: of the interval; each side has half of what is left.
        seed: of 10,000 draws.

    Returns:
        Lower and upper end; NaN of fewer than two examples.

    **Source:** Chernozhukov, Chetverikov and Kato, *Gaussian approximations and multiplier bootstrap for maxima of sums
    of high-dimensional random vectors* (2013); Chernozhukov, Lee and Rosen, *Intersection bounds* (2013), for bounds of
    a maximum from a band.
    """
    examples = above.shape[1]
    if examples < 2:
        return math.nan, math.nan
    means, errors = above.mean(axis=1), _error(above)
    moving = errors > 0
    if not moving.any():
        return float(means.max()), float(means.max())
    scaled = (above[moving] - means[moving, None]) / (errors[moving, None] * math.sqrt(examples * (examples - 1)))
    values, vectors = np.linalg.eigh(scaled @ scaled.T)
    drawn = np.random.default_rng(seed).standard_normal((DRAWS, int(moving.sum())))
    drawn = (drawn * np.sqrt(np.maximum(values, 0))) @ vectors.T
    share = (1 + confidence) / 2
    wider = stats.t.ppf(share, examples - 1) / stats.norm.ppf(share)  # few examples do not know their own spread
    below = float(np.quantile(drawn.max(axis=1), share))
    beyond = float(np.quantile(-drawn.min(axis=1), share))
    return float((means - wider * below * errors).max()), float((means + wider * beyond * errors).max())


def _error(values: Array) -> Array:
    """Standard error of the mean of each row."""
    examples = values.shape[1]
    if examples < 2:
        return np.full(len(values), np.nan)
    spread: Array = values.std(axis=1, ddof=1) / math.sqrt(examples)
    return spread
