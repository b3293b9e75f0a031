"""The fewest of some ranked things that have to be kept: a coarse search, then bisection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Fewest:
    """How many had to be kept.

    Attributes:
        needed: the fewest; None where even all are not enough.
        curve: float64 (tries, 2), how many were kept and what that gave, by how many.
    """

    needed: int | None
    curve: npt.NDArray[np.float64]


def fewest(
    measure: Callable[[int], float], enough: Callable[[float], bool], total: int, *, schedule: float = 2.0
) -> Fewest:
    """Find the smallest number that is enough, between one that is not and one from which on all tried are.

    None and all are tried, and numbers between them that grow by a factor; then the gap below the smallest of those
    from which on all are enough is halved (by ratios) until it is 1. Where the measure is not monotone, that is the end
    of one such gap; no number is claimed that was not tried.

    Args:
        measure: what keeping the first k of `total` gives.
        enough: whether that is enough.
        total: how many there are.
        schedule: the factor, above 1.

    Raises:
        ValueError: the factor is 1 or less.

    Example:
        >>> found = fewest(lambda kept: float(kept), lambda value: value >= 37, 100)
        >>> found.needed, found.curve[:, 0].astype(int).tolist()
        (37, [0, 1, 2, 4, 8, 16, 32, 35, 36, 37, 38, 45, 64, 100])
    """
    if not schedule > 1:
        message = f"the factor of a schedule is above 1, not {schedule}"
        raise ValueError(message)
    tries, size = {0, total}, 1.0
    while size < total:
        tries.add(round(size))
        size *= schedule
    found = {kept: measure(kept) for kept in sorted(tries, reverse=True)}
    good = None
    for kept in sorted(found, reverse=True):
        if not enough(found[kept]):
            break
        good = kept
    if good:
        bad = max((kept for kept in found if kept < good), default=0)
        while good - bad > 1:
            middle = min(max(round((max(bad, 1) * good) ** 0.5), bad + 1), good - 1)
            found[middle] = measure(middle)
            good, bad = (middle, bad) if enough(found[middle]) else (good, middle)
    return Fewest(good, np.array(sorted(found.items()), dtype=np.float64))
