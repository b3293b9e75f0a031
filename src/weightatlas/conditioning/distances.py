"""How far channels are from mean 0 and deviation 1, and how far chance alone would put them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.conditioning.channel_moments import Moments, deviation

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

RESAMPLES: Final = 999
"""Resamples of the examples: the least p-value is 0.001, the 95 % interval ends at the 25th from either side."""

CONFIDENCE: Final = 0.95

NEGLIGIBLE: Final = 1e-3
"""A distance that is no finding however surely it is there: a norm's epsilon and rounding make as much of an exact 0.

With batch norm's epsilon of 1e-5 the deviation of a channel of variance v is sqrt(v / (v + 1e-5)): 5e-4 below 1 at
v = 0.01.
"""


@dataclass(frozen=True, slots=True)
class Distance:
    """A distance, root mean square over channels, beside what chance gives.

    Attributes:
        value: of the means from 0, or of the deviations from 1; 0 or more, NaN where there is no norm.
        interval: 95 % interval of the distance with infinitely many examples. Noise alone makes a distance longer, so
            that `value` may lie above its interval.
        chance: the mean distance that as many examples give channels which truly have mean 0 (deviation 1).
        chance_high: its 95 % quantile.
        p_value: how often chance gives such a distance or a longer one, at least 1 / (resamples + 1); of a true
            distance up to `NEGLIGIBLE`, so that a norm's epsilon is no finding.
    """

    value: float
    interval: tuple[float, float] = (math.nan, math.nan)
    chance: float = math.nan
    chance_high: float = math.nan
    p_value: float = math.nan


UNKNOWN: Final = Distance(math.nan)


def distances(moments: Moments, *, seed: int = 0, resamples: int = RESAMPLES) -> tuple[Distance, Distance]:
    r"""Measure the distances of channels to mean 0 and to deviation 1, with their nulls.

    D_mean = sqrt(mean_c m_c^2) and D_std = sqrt(mean_c (s_c - 1)^2) over channels c. Blocks of examples are drawn with
    replacement, m*_c and s*_c are their moments, e*_c = m*_c - m_c their errors (times sqrt(k / (k - 1)) for k blocks,
    since a bootstrap's errors are that much too small). All channels are drawn together, so that what they have in
    common stays in. How far blocks scatter is itself known from k of them only: each resample's errors are divided by
    sqrt(chi^2 / (k - 1)), chi^2 drawn with k - 1 degrees of freedom, as Student's t has it. Without that, 4 blocks
    would call one in six chance distances significant at 5 %, and 64, the most there are, one in twenty.

    - Null model: the true means are 0 and only errors are seen, D* = sqrt(mean_c e*_c^2); of deviations likewise. Of
      many channels that have nothing in common it finds too few rather than too many.
    - Interval: the basic bootstrap of D^2, which takes out that noise makes D longer; it ends at 0 where it would go
      below.

    Args:
        moments: of normalised channels, in blocks.
        seed: fixes what is drawn.
        resamples: how often; 0 leaves intervals and nulls out.

    Returns:
        The distance of the means and that of the deviations. With fewer than two blocks they stand alone. Channels
        whose moments are not known are left out.

    **Source:** ours. "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization" (Qiao and
    others, 2019) draws accuracy against the distance to batch norm "in statistics of channels" and gives no formula
    that we could find; root mean squares are our reading.

    Example:
        >>> blocks = np.array([[0.5], [-0.5], [1.5], [-1.5]])
        >>> mean, std = distances(Moments(np.ones(4), blocks, blocks**2, blocks > 0, 4))
        >>> mean.value, std.value > 0, mean.p_value > 0.9
        (0.0, True, True)
    """
    known = np.isfinite(moments.means).all(axis=0)
    means, squares = moments.means[:, known], moments.squares[:, known]
    if not means.size:
        return UNKNOWN, UNKNOWN
    mean = np.average(means, axis=0, weights=moments.weights)
    std = deviation(mean, np.average(squares, axis=0, weights=moments.weights))
    blocks = len(means)
    if blocks < 2 or not resamples:
        return Distance(_rms(mean)), Distance(_rms(std - 1))
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples) * moments.weights
    drawn /= drawn.sum(axis=1, keepdims=True)
    stretch = math.sqrt(blocks / (blocks - 1))
    drawn_means = drawn @ means
    mean_errors = (drawn_means - mean) * stretch
    std_errors = (deviation(drawn_means, drawn @ squares) - std) * stretch
    widening = np.sqrt((blocks - 1) / generator.chisquare(blocks - 1, size=resamples))
    return _distance(mean, mean_errors, widening), _distance(std - 1, std_errors, widening)


def _distance(offsets: Array, errors: Array, widening: Array) -> Distance:
    value, scatter = _rms(offsets), np.sqrt(np.mean(errors**2, axis=1))
    by_chance = widening * scatter
    squared = np.mean((offsets + widening[:, None] * errors) ** 2, axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = 2 * value**2 - np.quantile(squared, [1 - tail, tail])
    return Distance(
        value=value,
        interval=(math.sqrt(max(low, 0.0)), math.sqrt(max(high, 0.0))),
        chance=float(scatter.mean()),
        chance_high=float(np.quantile(by_chance, CONFIDENCE)),
        p_value=float((1 + np.count_nonzero(by_chance + NEGLIGIBLE >= value)) / (1 + len(by_chance))),
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
