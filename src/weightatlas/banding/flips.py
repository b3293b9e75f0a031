"""The sign-flip test: could the units of a layer have agreed on a direction by chance?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

FLIPS = 99_999
"""Random patterns for a Monte-Carlo p-value: enough to reach q < .001 for one banded layer among 90."""

EXACT_UP_TO = 16
"""Up to so many values all 2^n patterns are counted."""

_PATTERNS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FlipTested:
    r"""A figure of a layer that is a mean over units, tested by sign flips over units and over input channels.

    Attributes:
        unit_scores: each unit's figure, whose sign the symmetry in question turns, (units,); NaN where it has none.
        input_scores: the same with the weight's first two axes exchanged, (inputs,); empty where there are no inputs.
        p_units: two-sided p of the flips over units.
        p_inputs: two-sided p of the flips over input channels; 0 where there are none.
    """

    unit_scores: Float[np.ndarray, " units"]
    input_scores: Float[np.ndarray, " inputs"]
    p_units: float = 1.0
    p_inputs: float = 1.0

    @property
    def score(self) -> float:
        """The mean over the units that have a figure."""
        return mean_of_finite(self.unit_scores)

    @property
    def units(self) -> int:
        """Number of units, those without a figure among them."""
        return len(self.unit_scores)

    @property
    def null_mean(self) -> float:
        """The score where every unit's sign is a fair coin: 0."""
        return 0.0

    @property
    def null_std(self) -> float:
        r"""Standard deviation of the score under that null, over units: \(\sqrt{\sum b_u^2} / n\)."""
        finite = self.unit_scores[np.isfinite(self.unit_scores)]
        return float(np.sqrt(np.sum(finite**2)) / len(finite)) if len(finite) else float("nan")

    @property
    def p_value(self) -> float:
        """The larger of the two p-values: units share their inputs, so flipping units alone is anti-conservative."""
        return max(self.p_units, self.p_inputs)


def mean_of_finite(values: Float[np.ndarray, "*shape"]) -> float:
    """Mean of the values that are finite; NaN if none is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def sign_flip_p_values(
    samples: list[npt.NDArray[np.float64]], *, flips: int = FLIPS, seed: int = 0
) -> Float[np.ndarray, " samples"]:
    r"""Two-sided p-value of the mean of each sample when every value's sign is a fair coin.

    \[ p = \frac{1 + \#\{s : |\sum_u s_u b_u| \ge |\sum_u b_u|\}}{1 + \text{flips}}, \qquad s_u = \pm 1, \]

    over `flips` random patterns, or exactly over all \(2^n\) where \(n \le 16\) (the observed pattern is one of them).
    With n values the smallest p is \(2^{1-n}\): at five or fewer the test never rejects at 5 %. The random patterns are
    shared by all samples: each p-value is valid by itself, and a survey of many layers is one matrix product.

    Args:
        samples: one-dimensional; values that are NaN (units without variance) are left out. A sample that is empty, or
            all zero, has p = 1.
        flips: number of random patterns.
        seed: of the patterns.

    Example:
        >>> sign_flip_p_values([np.ones(5), np.ones(6)])
        array([0.0625 , 0.03125])
    """
    values = [sample[np.isfinite(sample)] for sample in samples]
    p_values = np.ones(len(values))
    sampled = []
    for index, sample in enumerate(values):
        if len(sample) > EXACT_UP_TO:
            sampled.append(index)
        elif len(sample):
            p_values[index] = _exact(sample)
    if sampled:
        p_values[sampled] = _monte_carlo([values[index] for index in sampled], flips=flips, seed=seed)
    return p_values


def _exact(sample: npt.NDArray[np.float64]) -> float:
    """Count all patterns; by symmetry the first sign can stay."""
    patterns = np.arange(2 ** (len(sample) - 1))
    signs = 1 - 2 * ((patterns[:, None] >> np.arange(len(sample))) & 1)
    return float(np.mean(np.abs(signs @ sample) >= _threshold(sample)))


def _monte_carlo(samples: list[npt.NDArray[np.float64]], *, flips: int, seed: int) -> npt.NDArray[np.float64]:
    """Flip all samples with the same patterns, padded with zeros to one length.

    A pattern is a row of random bits: the flipped sum is twice the sum over the set bits, less the whole.
    """
    length = -(-max(map(len, samples)) // 8) * 8
    padded = np.zeros((length, len(samples)), dtype=np.float32)
    for column, sample in enumerate(samples):
        padded[: len(sample), column] = sample
    half_sums = padded.sum(axis=0, dtype=np.float64) / 2
    thresholds = np.array([_threshold(sample) / 2 for sample in samples])
    hits = np.zeros(len(samples), dtype=np.int64)
    for start in range(0, flips, _PATTERNS_AT_ONCE):
        count = min(_PATTERNS_AT_ONCE, flips - start)
        bits = _random_bits(count, length, seed=(seed, start))
        hits += np.count_nonzero(np.abs(bits @ padded - half_sums) >= thresholds, axis=0)
    return (1 + hits) / (1 + flips)


def _random_bits(count: int, length: int, *, seed: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Fair coins (count, length).

    Every eight columns have a seed of their own, so that a sample meets the same patterns whatever longer samples are
    tested beside it.
    """
    columns = [np.random.default_rng((*seed, column)).bytes(count) for column in range(length // 8)]
    packed = np.frombuffer(b"".join(columns), dtype=np.uint8).reshape(-1, count)
    # Unpacking along a contiguous axis is a hundred times as fast.
    return np.unpackbits(np.ascontiguousarray(packed.T), axis=1).astype(np.float32)


def _threshold(sample: npt.NDArray[np.float64]) -> float:
    """The observed |sum|, less what rounding can move it by: a tie counts as a hit."""
    return float(abs(sample.sum()) - 1e-6 * np.abs(sample).sum())
