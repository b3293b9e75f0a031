"""Which branch of one run is which of another: assignment by what they took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Two runs, as they are (the first of each array) and as chance has them.

    Attributes:
        strength: (draws, families) mean product of what matched branches took.
        agreement: (draws, families) whether the branches that took it most are matched.
        places: (branches of the one,) branch of the other, -1 without one; as the runs are.
    """

    strength: Array
    agreement: npt.NDArray[np.bool_]
    places: Places


def match(one: Array, other: Array, *, fixed: Places | None = None) -> Matched:
    r"""Match branches so that \(\sum_b |E_b - E'_{\pi(b)}|^2\) is smallest, in every draw.

    Args:
        one: (draws, branches, families) what each branch took.
        other: the same of the other run; its branches may be more or fewer.
        fixed: for each branch of the one that of the other, -1 without one, where it is known.
    """
    draws, branches, _ = one.shape
    if fixed is None:
        products = one @ other.swapaxes(1, 2)
        costs = (one**2).sum(axis=2)[:, :, None] + (other**2).sum(axis=2)[:, None, :] - 2 * products
        chosen = np.array([linear_sum_assignment(cost) for cost in costs])
        rows, columns = chosen[:, 0], chosen[:, 1]
    else:
        known = np.flatnonzero(fixed >= 0)
        rows, columns = (np.tile(places, (draws, 1)) for places in (known, fixed[known]))
    strength = np.take_along_axis(one, rows[:, :, None], 1) * np.take_along_axis(other, columns[:, :, None], 1)
    places = np.full((draws, branches), -1, dtype=np.int64)
    np.put_along_axis(places, rows, columns, 1)
    agreement = np.take_along_axis(places, one.argmax(axis=1), 1) == other.argmax(axis=1)
    return Matched(strength.mean(axis=1), agreement, places[0])


def by_name(one: Sequence[str], other: Sequence[str]) -> Places:
    """For each name of the one its place in the other, -1 without one.

    Example:
        >>> by_name(("1x1", "pool"), ("3x3", "1x1"))
        array([ 1, -1])
    """
    return np.array([other.index(name) if name in other else -1 for name in one], dtype=np.int64)


def most_alike(pairs: Mapping[tuple[int, int], Matched], runs: int) -> int:
    """The run whose branches took most together with those of the others."""
    strengths = np.zeros(runs)
    for (one, other), pair in pairs.items():
        strengths[[one, other]] += pair.strength[0].sum()
    return int(strengths.argmax())


def places_in(pairs: Mapping[tuple[int, int], Matched], run: int, reference: int, branches: int) -> Places:
    """For each branch of a run that of the reference, -1 without one."""
    if run == reference:
        return np.arange(branches)
    if run < reference:
        return pairs[run, reference].places
    backwards = pairs[reference, run].places
    places = np.full(branches, -1, dtype=np.int64)
    places[backwards[backwards >= 0]] = np.flatnonzero(backwards >= 0)
    return places
