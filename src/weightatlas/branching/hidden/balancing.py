"""Balancing: scale rows and columns of a non-negative matrix until each has mean 1, so that no unit is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray

TOLERANCE: Final = 1e-10
"""Rows and columns are balanced when no mean is further from 1 than this."""

MOST_ROUNDS: Final = 2_000

WIDEST: Final = 1e12
"""Scales further apart than this belong to a matrix whose zeros leave no balanced form: there they grow for ever."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Balanced:
    r"""A matrix whose rows and columns all have mean 1, and the scales that were taken out of it.

    On the rows and columns kept, `original = row_scales[:, None] * matrix * column_scales`.

    Attributes:
        matrix: rows and columns of mean 1, without those that are zero throughout; non-negative.
        row_scales: size of each row kept.
        column_scales: size of each column kept.
        rows: which rows are kept, (all rows,).
        columns: which columns are kept, (all columns,).
        error: largest distance of a mean of a row or column from 1.
    """

    matrix: Float[Array, "rows columns"]
    row_scales: Float[Array, " rows"]
    column_scales: Float[Array, " columns"]
    rows: Bool[Array, " all_rows"]
    columns: Bool[Array, " all_columns"]
    error: float

    @property
    def converged(self) -> bool:
        """Whether every mean is 1 to ten digits."""
        return self.error <= TOLERANCE


def balance(matrix: Float[Array, "rows columns"], *, rounds: int = MOST_ROUNDS) -> Balanced:
    r"""Balance a non-negative matrix A by the iteration of Sinkhorn and Knopp.

    Rows and columns are divided by their means in turn, until all means are 1 within 1e-10. The limit \(D_1 A D_2\) is
    the only matrix of that form with such means, so that it is the same for \(D A D'\) whatever the positive diagonal
    matrices D and D': the sizes of units are gone from it, and only how each unit spreads its weight is left.

    Zero rows and columns are removed first: no scale makes their mean 1. Other zeros may keep the iteration from ever
    arriving (a matrix has a balanced form only if its zeros leave room for one); then `error` says how far it came.

    Args:
        matrix: finite and non-negative.
        rounds: the most rounds of rows and columns.

    Raises:
        ValueError: it is no matrix, or has negative or non-finite elements, or none above 0.

    **Source:** Sinkhorn and Knopp, *Concerning nonnegative matrices and doubly stochastic matrices* (1967), for means
    of 1 instead of sums.

    Example:
        >>> found = balance(np.outer([1.0, 5.0], [2.0, 3.0, 1.0]))
        >>> found.matrix.round(9).tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    if matrix.ndim != 2 or not np.isfinite(matrix).all() or (matrix < 0).any():
        message = f"balancing needs a matrix of finite numbers that are not negative, got shape {matrix.shape}"
        raise ValueError(message)
    rows, columns = matrix.max(axis=1, initial=0) > 0, matrix.max(axis=0, initial=0) > 0
    if not rows.any():
        message = "a matrix of zeros cannot be balanced"
        raise ValueError(message)
    kept = matrix[rows][:, columns].astype(np.float64)
    kept /= kept.max()
    row_factors, column_factors, error = _factors(kept, rounds)
    return Balanced(
        matrix=row_factors[:, None] * kept * column_factors,
        row_scales=float(matrix.max()) / row_factors,
        column_scales=1 / column_factors,
        rows=rows,
        columns=columns,
        error=error,
    )


def balance_batch(matrices: Float[Array, "batch rows columns"], *, rounds: int, tolerance: float) -> None:
    """Balance many non-negative matrices in place, until all means are 1 within the tolerance.

    A row or column of zeros, which no scale balances, becomes one of ones: no larger in one place than in another.
    """
    for axis in (2, 1):
        matrices[np.broadcast_to(~matrices.any(axis=axis, keepdims=True), matrices.shape)] = 1
    for _ in range(rounds):
        matrices /= matrices.mean(axis=2, keepdims=True)
        means = matrices.mean(axis=1, keepdims=True)
        matrices /= means
        if np.abs(means - 1).max() <= tolerance:
            return


def _factors(kept: Float[Array, "rows columns"], rounds: int) -> tuple[Array, Array, float]:
    """The factors that balance, and how far the means of rows and columns are from 1 with them."""
    rows, columns = kept.shape
    column_factors = np.ones(columns)
    for _ in range(rounds):
        row_factors = columns / (kept @ column_factors)
        column_means = (row_factors @ kept) * column_factors / rows
        # Rows are exact at this point: what the columns lack is the whole error.
        error = float(np.abs(column_means - 1).max())
        if error <= TOLERANCE or max(np.ptp(np.log(row_factors)), np.ptp(np.log(column_factors))) > np.log(WIDEST):
            break
        column_factors = column_factors / column_means
    return row_factors, column_factors, error
