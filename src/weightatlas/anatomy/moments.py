"""Count and moments of a tensor in one read: a compiled kernel over blocks that fit the nearest cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

_BLOCK: Final = 4096
# No "nnan" and no "ninf": the kernel looks for what is not finite.
_MATH: Final = {"reassoc", "contract", "arcp", "nsz"}


@dataclass(frozen=True, slots=True)
class Moments:
    """Counts over all values; mean and central sums over the finite ones.

    Attributes:
        finite: how many values are finite.
        non_finite: how many are not.
        zeros: how many are exactly zero.
        largest: the largest magnitude of a finite value; 0 where there is none.
        mean: of the finite values.
        second: sum of (w - mean)^2.
        third: sum of (w - mean)^3.
        fourth: sum of (w - mean)^4.
    """

    finite: int = 0
    non_finite: int = 0
    zeros: int = 0
    largest: float = 0.0
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    def merge(self, other: Moments) -> Moments:
        """The moments of both together.

        **Source:** Pebay, Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
        statistical moments (2008), equations 3.1.
        """
        if self.finite == 0 or other.finite == 0:
            base = other if self.finite == 0 else self
            mean, second, third, fourth = base.mean, base.second, base.third, base.fourth
        else:
            mean, second, third, fourth = _merged(
                (self.finite, self.mean, self.second, self.third, self.fourth),
                (other.finite, other.mean, other.second, other.third, other.fourth),
            )[1:]
        return Moments(
            self.finite + other.finite,
            self.non_finite + other.non_finite,
            self.zeros + other.zeros,
            max(self.largest, other.largest),
            mean,
            second,
            third,
            fourth,
        )

    @property
    def norm(self) -> float:
        """Euclidean norm of the finite values."""
        return math.sqrt(self.second + self.finite * self.mean * self.mean)

    @property
    def std(self) -> float:
        """Standard deviation of the finite values, not corrected for the mean; NaN where there is none."""
        return math.sqrt(self.second / self.finite) if self.finite else math.nan

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis of the finite values: 0 for a Gaussian; NaN where they do not vary."""
        # Values that are all the same leave rounding errors of the mean behind.
        floor = self.finite * (1e-7 * self.largest) ** 2
        if self.finite < 2 or self.second <= floor:
            return math.nan
        return self.finite * (self.fourth / self.second) / self.second - 3.0


def moments(chunks: Iterable[npt.NDArray[np.float32 | np.float64]]) -> Moments:
    """Counts and central moments of flat chunks of one array, each read once, sums in double precision.

    Example:
        >>> found = moments([np.array([1.0, -1.0, 0.0, np.nan])])
        >>> found.finite, found.non_finite, found.zeros, found.largest, round(found.std, 4)
        (3, 1, 1, 1.0, 0.8165)
    """
    total = Moments()
    for chunk in chunks:
        values = np.ascontiguousarray(chunk)
        whole: Any = np.int32 if values.dtype == np.float32 else np.int64
        infinite = np.array([np.inf], dtype=values.dtype).view(whole)[0]
        bits: npt.NDArray[Any] = values.view(whole)
        finite, zeros, largest, mean, second, third, fourth = _scan(values, bits, infinite, whole(np.iinfo(whole).max))
        magnitude = float(np.array([largest], dtype=whole).view(values.dtype)[0])
        total = total.merge(Moments(finite, values.size - finite, zeros, magnitude, mean, second, third, fourth))
    return total


@numba.njit(nogil=True, cache=True, fastmath=_MATH)
def _merged(
    first: tuple[int, float, float, float, float], second: tuple[int, float, float, float, float]
) -> tuple[int, float, float, float, float]:
    count, mean, two, three, four = first
    more, other_mean, other_two, other_three, other_four = second
    total = count + more
    delta = other_mean - mean
    share = delta / total
    cross = delta * share * count * more
    four += (
        other_four
        + cross * share * share * (count * count - count * more + more * more)
        + 6.0 * share * share * (count * count * other_two + more * more * two)
        + 4.0 * share * (count * other_three - more * three)
    )
    three += other_three + cross * share * (count - more) + 3.0 * share * (count * other_two - more * two)
    two += other_two + cross
    return total, mean + share * more, two, three, four


@numba.njit(nogil=True, cache=True, fastmath=_MATH)
def _scan(
    values: npt.NDArray[Any], bits: npt.NDArray[Any], infinite: int, unsigned: int
) -> tuple[int, int, int, float, float, float, float]:
    """Counts and central sums of a flat array.

    Magnitudes are compared as integers: the bits of floats without their sign are in the order of their magnitudes,
    and whole-number comparisons become vector instructions where those of floats, for NaN's sake, do not.
    """
    zeros = 0
    largest = infinite - infinite
    found = (0, 0.0, 0.0, 0.0, 0.0)
    for start in range(0, values.size, _BLOCK):
        stop = min(start + _BLOCK, values.size)
        top = infinite - infinite
        for index in range(start, stop):
            magnitude = bits[index] & unsigned
            top = max(top, magnitude)
            zeros += magnitude == 0
        count = stop - start
        total = two = three = four = 0.0
        if top < infinite:
            for index in range(start, stop):
                total += values[index]
            mean = total / count
            for index in range(start, stop):
                away = values[index] - mean
                square = away * away
                two += square
                three += square * away
                four += square * square
        else:
            count, top, mean, two, three, four = _scan_some(values[start:stop], bits[start:stop], infinite, unsigned)
        largest = max(largest, top)
        if count > 0:
            found = _merged(found, (count, mean, two, three, four)) if found[0] > 0 else (count, mean, two, three, four)
    return found[0], zeros, largest, found[1], found[2], found[3], found[4]


@numba.njit(nogil=True, cache=True, fastmath=_MATH)
def _scan_some(
    values: npt.NDArray[Any], bits: npt.NDArray[Any], infinite: int, unsigned: int
) -> tuple[int, int, float, float, float, float]:
    """The same for one block in which some values are not finite."""
    count = 0
    top = infinite - infinite
    total = two = three = four = 0.0
    for index in range(values.size):
        magnitude = bits[index] & unsigned
        if magnitude < infinite:
            top = max(top, magnitude)
            count += 1
            total += values[index]
    mean = total / max(count, 1)
    for index in range(values.size):
        if bits[index] & unsigned < infinite:
            away = values[index] - mean
            square = away * away
            two += square
            three += square * away
            four += square * square
    return count, top, mean, two, three, four
