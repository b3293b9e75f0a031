"""How much the branch of a unit tells of its family: mutual information, and what chance alone gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import random_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Values = npt.NDArray[np.float64]

EXACT_UP_TO: Final = 20_000
"""Up to so many tables of the given margins all are counted, in some ten milliseconds."""

TIE: Final = 1e-9
"""Bits by which rounding may set two tables apart that are equally informative; a tie counts as a hit."""

_CELLS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Dependence:
    """How far two partitions of the same units depend on each other.

    Attributes:
        information: mutual information in bits.
        null_mean: its mean where the labels of one are permuted.
        null_std: its standard deviation there.
        p_value: probability of as much information or more there.
        entropies: bits of the rows' and of the columns' partition: the information is at most the smaller.
        exact: whether all permutations were counted instead of drawn.
    """

    information: float
    null_mean: float
    null_std: float
    p_value: float
    entropies: tuple[float, float]
    exact: bool


def mutual_information(tables: Counts) -> Values:
    r"""Mutual information of rows and columns of contingency tables, in bits.

    \[ I = \sum_{ij} \frac{n_{ij}}{n} \log_2 \frac{n_{ij}\, n}{n_{i\cdot}\, n_{\cdot j}} \]

    Args:
        tables: (..., rows, columns) counts.

    Returns:
        (...), from 0 to the smaller entropy; 0 for a table without counts.

    Example:
        >>> mutual_information(np.array([[2, 0], [0, 2]])), mutual_information(np.array([[1, 1], [1, 1]]))
        (np.float64(1.0), np.float64(0.0))
    """
    counts = tables.astype(np.float64)
    rows, columns = counts.sum(axis=-1), counts.sum(axis=-2)
    total = rows.sum(axis=-1)
    summed = (
        xlogy(counts, counts).sum(axis=(-2, -1))
        - xlogy(rows, rows).sum(axis=-1)
        - xlogy(columns, columns).sum(axis=-1)
        + xlogy(total, total)
    )
    found: Values = np.maximum(summed, 0.0) / (np.maximum(total, 1.0) * math.log(2))
    return found


def entropy(sizes: Counts) -> float:
    """Entropy in bits of a partition into parts of these sizes.

    Example:
        >>> entropy(np.array([64, 128, 32, 32]))
        1.75
    """
    shares = sizes[sizes > 0] / max(int(sizes.sum()), 1)
    return float(-np.sum(shares * np.log2(shares))) + 0.0


def dependence(table: Counts, *, permutations: int, seed: int) -> Dependence:
    """Mutual information of a contingency table beside its null.

    The null permutes the column labels among the units, so that the table's margins stay: tables of given margins are
    drawn from that law (Patefield 1981, Boyett 1979; scipy's `random_table`), or, where there are at most 20,000, all
    counted with their probabilities.

    Args:
        table: (rows, columns) counts of units.
        permutations: drawn where not all are counted; the smallest p is one in one more.
        seed: of the draws.

    **Source:** Patefield, Algorithm AS 159 (1981).

    Example:
        >>> found = dependence(np.array([[3, 0], [0, 3]]), permutations=99, seed=0)
        >>> round(found.information, 6), round(found.p_value, 6), found.exact
        (1.0, 0.1, True)
    """
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    information = float(mutual_information(table))
    entropies = entropy(rows), entropy(columns)
    if min(table.shape) < 2:  # one part: every permutation gives this very table
        return Dependence(0.0, 0.0, 0.0, 1.0, entropies, exact=True)
    counted = _all_tables(rows, columns)
    if counted is not None:
        values, weights = counted
        mean = float(weights @ values)
        spread = math.sqrt(float(weights @ (values - mean) ** 2))
        p_value = min(1.0, float(weights[values >= information - TIE].sum()))
        return Dependence(information, mean, spread, p_value, entropies, exact=True)
    values = np.concatenate([mutual_information(drawn) for drawn in permuted_tables(table, permutations, seed=seed)])
    hits = int(np.count_nonzero(values >= information - TIE))
    p_value = (1 + hits) / (1 + permutations)
    return Dependence(information, float(values.mean()), float(values.std()), p_value, entropies, exact=False)


def permuted_tables(table: Counts, count: int, *, seed: int) -> Iterator[Counts]:
    """Tables as permuted labels give them, (some, rows, columns) at a time, `count` in all.

    Rows and columns without units stay empty.

    Args:
        table: (rows, columns), whose margins they have.
        count: how many.
        seed: of the draws.
    """
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    some_rows, some_columns = np.flatnonzero(rows), np.flatnonzero(columns)
    generator = np.random.default_rng(seed)
    # Of one row or one column there is one table, and scipy 1.17 gives wrong ones where there are one of each.
    is_free = min(len(some_rows), len(some_columns)) > 1
    law = random_table(rows[some_rows], columns[some_columns]) if is_free else None
    most = max(1, _CELLS_AT_ONCE // max(table.size, 1))
    for start in range(0, count, most):
        size = min(most, count - start)
        drawn = np.broadcast_to(table, (size, *table.shape)).copy()
        if law is not None:
            inner = law.rvs(size=size, random_state=generator)
            drawn[:, some_rows[:, None], some_columns] = inner
        yield drawn


def _all_tables(rows: Counts, columns: Counts) -> tuple[Values, Values] | None:
    """Information and probability of every table of these margins; None where there are too many.

    Row by row, the largest last: its counts are whatever the others leave of the columns.
    """
    if _bound(rows, columns) > _bound(columns, rows):
        rows, columns = columns, rows
    if _bound(rows, columns) > EXACT_UP_TO:
        return None
    order = np.sort(rows)
    left = columns[None, :].astype(np.int64)
    summed, log_factorials = np.zeros(1), np.zeros(1)
    for size in order[:-1].tolist():
        ways = _compositions(size, len(columns))
        fits = np.all(left[:, None, :] >= ways[None, :, :], axis=2)
        which, way = np.nonzero(fits)
        left = left[which] - ways[way]
        summed = summed[which] + xlogy(ways, ways).sum(axis=1)[way]
        log_factorials = log_factorials[which] + gammaln(ways + 1).sum(axis=1)[way]
    summed += xlogy(left, left).sum(axis=1)
    log_factorials += gammaln(left + 1).sum(axis=1)
    total = int(rows.sum())
    constant = xlogy(total, total) - xlogy(rows, rows).sum() - xlogy(columns, columns).sum()
    information = np.maximum(summed + constant, 0.0) / (total * math.log(2))
    weights = np.exp(gammaln(rows + 1).sum() + gammaln(columns + 1).sum() - gammaln(total + 1) - log_factorials)
    return information, weights / weights.sum()


def _bound(rows: Counts, columns: Counts) -> int:
    """No fewer than there are tables of these margins."""
    parts = len(columns)
    return math.prod(math.comb(size + parts - 1, parts - 1) for size in np.sort(rows)[:-1].tolist())


def _compositions(total: int, parts: int) -> Counts:
    """Every way to write a number as a sum of so many numbers from 0 up, (ways, parts)."""
    if parts == 1:
        return np.array([[total]], dtype=np.int64)
    blocks = []
    for first in range(total + 1):
        rest = _compositions(total - first, parts - 1)
        blocks.append(np.column_stack([np.full(len(rest), first, dtype=np.int64), rest]))
    return np.concatenate(blocks)
