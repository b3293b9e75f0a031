"""The effect of an intervention: what changes from the baseline to the variant, seed by seed, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import t as student

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with what its sample says of its error.

    Attributes:
        mean: of the sample; NaN where it is empty.
        low: lower end of the confidence interval; None below two values.
        high: upper end; None below two values.
        p_value: two-sided p of a mean of 0 by Student's t; None below two values.
        sd: standard deviation with n - 1 below the line; None below two values.
        count: how many values there are.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    sd: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Effect:
    """A variant beside its baseline, over the seeds that both have.

    Attributes:
        baseline: the baseline's values.
        variant: the variant's values.
        difference: variant less baseline, seed by seed.
    """

    baseline: Interval
    variant: Interval
    difference: Interval

    @property
    def pairs(self) -> int:
        """How many seeds both have."""
        return self.difference.count

    @property
    def kept(self) -> float:
        """The variant's mean as a share of the baseline's; NaN where the baseline's interval reaches 0."""
        low, high = self.baseline.low, self.baseline.high
        if not self.baseline.mean or (low is not None and high is not None and low <= 0 <= high):
            return math.nan
        return self.variant.mean / self.baseline.mean


def mean_interval(values: Sequence[float] | npt.NDArray[np.float64], *, confidence: float = CONFIDENCE) -> Interval:
    r"""Give the mean of independent values and its t interval.

    With n values, mean m and standard deviation s (n - 1 below the line) the interval is
    \(m \pm t_{(1 + c)/2,\, n - 1}\, s / \sqrt n\), and p is that of \(t = m \sqrt n / s\) with n - 1 degrees of
    freedom. It covers the true mean with probability c if the values are normal. Where all values are equal the
    interval has no width, and p is 1 for a mean of 0 and 0 otherwise.

    Args:
        values: finite numbers.
        confidence: c, between 0 and 1.

    Raises:
        ValueError: a value is not finite, or `confidence` is no probability.

    **Source:** Student, *The probable error of a mean*, Biometrika 1908.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0])
        >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
        (2.0, -0.484, 4.484)
    """
    if not 0 < confidence < 1:
        message = f"confidence must be above 0 and below 1, not {confidence}"
        raise ValueError(message)
    sample = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sample).all():
        message = "the values must be finite; leave out what was not measured"
        raise ValueError(message)
    count = sample.size
    mean = float(sample.mean()) if count else math.nan
    if count < 2:
        return Interval(mean, None, None, None, None, count)
    sd = 0.0 if np.ptp(sample) == 0 else float(sample.std(ddof=1))
    error = sd / math.sqrt(count)
    reach = float(student.ppf((1 + confidence) / 2, count - 1)) * error
    p_value = float(2 * student.sf(abs(mean) / error, count - 1)) if error > 0 else float(mean == 0)
    return Interval(mean, mean - reach, mean + reach, p_value, sd, count)


def paired_effect(
    values: Sequence[float] | npt.NDArray[np.float64],
    baseline: Sequence[float] | npt.NDArray[np.float64],
    *,
    confidence: float = CONFIDENCE,
) -> Effect:
    """Compare a variant with its baseline over seeds that both were run with.

    Runs of one seed share their first weights and their data, so the seed's own luck leaves the difference; the
    interval is that of the differences' mean. A pair with a NaN on either side was not measured and is left out.

    Args:
        values: the variant's figure for each seed.
        baseline: the baseline's, for the same seeds in the same order.
        confidence: probability that the interval covers the true effect.

    Raises:
        ValueError: the two have different lengths, or a value is infinite.

    **Source:** the paired t test (Student, 1908), as `scipy.stats.ttest_rel` has it.

    Example:
        >>> effect = paired_effect([0.05, 0.02, 0.04], [0.34, 0.31, 0.35])
        >>> round(effect.difference.mean, 3), round(effect.difference.high, 3), effect.pairs
        (-0.297, -0.268, 3)
    """
    after, before = np.asarray(values, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if after.shape != before.shape or after.ndim != 1:
        message = f"the two must have one value a seed each, not shapes {after.shape} and {before.shape}"
        raise ValueError(message)
    known = ~(np.isnan(after) | np.isnan(before))
    after, before = after[known], before[known]
    return Effect(
        mean_interval(before, confidence=confidence),
        mean_interval(after, confidence=confidence),
        mean_interval(after - before, confidence=confidence),
    )
