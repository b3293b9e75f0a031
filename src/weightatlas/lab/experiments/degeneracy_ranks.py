"""Over the seeds of one task: does the more degenerate network have the lower held-out loss?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import rankdata

from weightatlas.data.seeds import derived_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

RANKED: Final = ("nullity", "union", "effective_rank", "llc")
"""Measures of degeneracy: the first two grow with it, the others fall."""

FEWEST: Final = 4
"""Seeds below which no order is rarer than one in 20."""

TRIED: Final = 9_999
"""Orders that are drawn where there are more in all."""

ALIKE: Final = 1e-12
"""What rounding makes of correlations that are one number."""


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """How two figures of the same runs are ordered.

    Attributes:
        rho: Spearman's, -1 to 1.
        p_value: two-sided, against random orders.
        orders: how many orders it was compared with.
    """

    rho: float
    p_value: float
    orders: int


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    r"""Spearman's rank correlation of two figures of the same runs, with its p against random orders.

    rho is the correlation of mid-ranks. The null: the second figure's values are dealt to the runs at random. With
    up to 7 runs all n! orders are gone through, the given one among them, and p is the share whose \(|\rho|\) is as
    large; beyond, 9,999 are drawn (seeded) and p is (1 + hits) / (1 + tries).

    Args:
        first: a figure of each run.
        second: another of the same, in the same order.

    Returns:
        None for fewer than 4 runs, or where one of the two is the same in all.

    Raises:
        ValueError: the two have different lengths.

    **Source:** Spearman, 1904; the exact permutation test, Fisher, 1935.

    Example:
        >>> found = rank_correlation([1, 2, 3, 4, 5], [0.5, 0.4, 0.3, 0.2, 0.1])
        >>> round(found.rho, 3), round(found.p_value, 4), found.orders
        (-1.0, 0.0167, 120)
    """
    if len(first) != len(second):
        message = f"the two must have one value a run each, not {len(first)} and {len(second)}"
        raise ValueError(message)
    if len(first) < FEWEST:
        return None
    ranks, others = (_standardised(values) for values in (first, second))
    if ranks is None or others is None:
        return None
    rho = float(ranks @ others)
    exact = factorial(len(first)) <= TRIED
    orders = np.array(list(_orders(len(first), exact=exact)))
    hits = int(np.count_nonzero(np.abs(others[orders] @ ranks) >= abs(rho) - ALIKE))
    p_value = hits / len(orders) if exact else (1 + hits) / (1 + len(orders))
    return RankCorrelation(rho, p_value, len(orders))


def _standardised(values: Sequence[float]) -> npt.NDArray[np.float64] | None:
    """Mid-ranks of mean 0 and length 1; None where all are the same."""
    ranks = rankdata(values) - (len(values) + 1) / 2
    length = float(np.linalg.norm(ranks))
    return None if length == 0 else np.asarray(ranks / length, dtype=np.float64)


def _orders(count: int, *, exact: bool) -> Iterable[Sequence[int] | npt.NDArray[np.int64]]:
    if exact:
        return permutations(range(count))
    generator = np.random.default_rng(derived_seed(0, count))
    return (generator.permutation(count) for _ in range(TRIED))
