"""The sums that all figures of weight change follow from; those of a tensor's parts add up to its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Zero = Literal["skip", "inf", "eps"]
"""What the mean of elementwise ratios does with weights of 0."""

EPSILON: Final = 1e-8
"""What stands for a weight of 0 where zeros are "eps"."""

DISTANCE, SIZE, DISTANCE_2, SIZE_2, AFTER_2, RATIOS, FROM_ZERO, ZEROS = range(8)
"""Of a pair, w before, w' after, d = w' - w: sums of |d|, |w|, d^2, w^2, w'^2, of |d| / |w| where w is not 0, of |d|
where it is, and how often it is."""

PREVIOUS_2, DOT = range(8, 10)
"""Of the update before, e: sums of e^2 and of e d."""

FROM_START, START, FROM_START_2, START_2 = range(10, 14)
"""Of the first weights, s: sums of |w' - s|, |s|, (w' - s)^2, s^2."""

OF_PAIR, OF_START = slice(DISTANCE, SIZE_2 + 1), slice(FROM_START, START_2 + 1)
"""The same four sums, from the weights before and from the first: of the first pair they are equal."""

BEFORE_NOT_FINITE, AFTER_NOT_FINITE = range(14, 16)
"""How many values are NaN or infinite."""

SUMS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStatistics:
    """How much a tensor changed from one moment of its training to another; NaN where a figure has no meaning.

    Attributes:
        ratio_l1: relative weight change, sum |d| / sum |w|; 0 for none, infinite where all weights were 0.
        elementwise: the mean of |d| / |w| over weights, as `zero` says for those of 0.
        ratio_l2: sqrt(sum d^2 / sum w^2).
        cosine: between this update and the one before it, -1 to 1; NaN where either is 0 or the one before not known.
        from_start: sum |w' - s| / sum |s|, s the first weights; NaN where they are not known.
        angle_from_start: between w' and s, in radians, 0 to pi.
        median: the median of |d| / |w| over weights that were not 0, within 1 %; NaN unless it was asked for.
        zeros: weights that were 0.
        elements: weights in all.
        not_finite: values that are NaN or infinite, before and after.
        skipped: why figures are missing, or None.
    """

    ratio_l1: float = math.nan
    elementwise: float = math.nan
    ratio_l2: float = math.nan
    cosine: float = math.nan
    from_start: float = math.nan
    angle_from_start: float = math.nan
    median: float = math.nan
    zeros: int | None = None
    elements: int = 0
    not_finite: tuple[int, int] = (0, 0)
    skipped: str | None = None


def figures(
    sums: npt.NDArray[np.float64],
    elements: int,
    *,
    zero: Zero = "skip",
    only_norms: bool = False,
    with_previous: bool = False,
    with_start: bool = False,
) -> ChangeStatistics:
    """Give the figures that a tensor's sums amount to.

    Args:
        sums: as the loops add them.
        elements: of the tensor.
        zero: what `elementwise` does with weights of 0: leave them out of the mean, let one that moves make it infinite
            (as the paper's code does), or divide by `EPSILON`.
        only_norms: the sums are those of equation 1 alone.
        with_previous: they know the update before.
        with_start: they know the first weights.
    """
    before, after = int(sums[BEFORE_NOT_FINITE]), int(sums[AFTER_NOT_FINITE])
    if before or after:
        reason = _not_finite(before, after, elements)
        return ChangeStatistics(elements=elements, not_finite=(before, after), skipped=reason)
    ratio_l1 = _ratio(sums[DISTANCE], sums[SIZE])
    if only_norms:
        return ChangeStatistics(ratio_l1=ratio_l1, elements=elements)
    zeros = int(sums[ZEROS])
    return ChangeStatistics(
        ratio_l1=ratio_l1,
        elementwise=_elementwise(sums, elements, zero),
        ratio_l2=math.sqrt(_ratio(sums[DISTANCE_2], sums[SIZE_2])),
        cosine=_cosine(sums) if with_previous else math.nan,
        from_start=_ratio(sums[FROM_START], sums[START]) if with_start else math.nan,
        angle_from_start=_angle(sums) if with_start else math.nan,
        zeros=zeros,
        elements=elements,
    )


def _ratio(part: float, whole: float) -> float:
    if whole > 0:
        return float(part / whole)
    return math.inf if part > 0 else math.nan


def _elementwise(sums: npt.NDArray[np.float64], elements: int, zero: Zero) -> float:
    zeros = int(sums[ZEROS])
    if zero == "skip":
        return float(sums[RATIOS] / (elements - zeros)) if elements > zeros else math.nan
    if zeros == 0:
        return float(sums[RATIOS] / elements) if elements else math.nan
    if zero == "eps":
        return float((sums[RATIOS] + sums[FROM_ZERO] / EPSILON) / elements)
    # The paper's code divides 0 by 0 where such a weight stays, which is not a number.
    return math.inf if sums[FROM_ZERO] > 0 else math.nan


def _cosine(sums: npt.NDArray[np.float64]) -> float:
    size = math.sqrt(sums[DISTANCE_2]) * math.sqrt(sums[PREVIOUS_2])
    return max(-1.0, min(1.0, float(sums[DOT] / size))) if size > 0 else math.nan


def _angle(sums: npt.NDArray[np.float64]) -> float:
    """The angle by tan^2(angle / 2), which keeps its digits where the arc cosine of nearly 1 loses them."""
    first, last = math.sqrt(sums[START_2]), math.sqrt(sums[AFTER_2])
    if not (first > 0 and last > 0):
        return math.nan
    near = max(0.0, float(sums[FROM_START_2]) - (last - first) ** 2)
    far = max(0.0, (last + first) ** 2 - float(sums[FROM_START_2]))
    return 2 * math.atan2(math.sqrt(near), math.sqrt(far))


def _not_finite(before: int, after: int, elements: int) -> str:
    parts = [f"{count:,} {when}" for count, when in ((before, "before"), (after, "after")) if count]
    return f"NaN or infinite weights among {elements:,}: {' and '.join(parts)}"
