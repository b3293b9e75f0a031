"""Orders of rows and columns that bring the blocks of a matrix together, for its picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from sklearn.cluster import SpectralCoclustering
from threadpoolctl import threadpool_limits

from weightatlas.branching.hidden.balancing import balance

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Biclusters:
    """Blocks of a matrix: which rows go with which columns.

    Attributes:
        row_labels: block of each row, (rows,); -1 for a row of zeros.
        column_labels: block of each column, (columns,); -1 for a column of zeros.
        row_order: rows block by block, those of zeros last.
        column_order: columns block by block, likewise.
    """

    row_labels: Int64[Array, " rows"]
    column_labels: Int64[Array, " columns"]
    row_order: Int64[Array, " rows"]
    column_order: Int64[Array, " columns"]


def biclusters(matrix: Float[Array, "rows columns"], *, blocks: int = 2, seed: int = 0) -> Biclusters:
    r"""Cluster rows and columns together by spectral co-clustering of the balanced matrix.

    Rows and columns are clustered by k-means on the first \(\lceil \log_2 k \rceil\) singular vectors after the
    constant one. Balanced first, as hidden branches are: else blocks gather units of one size.

    Args:
        matrix: finite and non-negative: `HiddenBranches.matrix`.
        blocks: how many.
        seed: of k-means.

    Raises:
        ValueError: it cannot be balanced, or there are fewer connected rows or columns than blocks, or fewer than two
            blocks are asked for.

    **Source:** Dhillon, *Co-clustering documents and words using bipartite spectral graph partitioning* (2001), by
    scikit-learn's `SpectralCoclustering`; the balancing is ours.

    Example:
        >>> table = np.kron(np.eye(2), np.ones((2, 3))) + 0.1
        >>> found = biclusters(table[[0, 2, 1, 3]])
        >>> found.row_order.tolist()
        [0, 2, 1, 3]
    """
    balanced = balance(matrix)
    if not 2 <= blocks <= min(balanced.matrix.shape):
        message = f"blocks must be 2 to {min(balanced.matrix.shape)}, the connected units of the shorter side"
        raise ValueError(message)
    with threadpool_limits(1):  # threads round in the order they end
        model = SpectralCoclustering(n_clusters=blocks, random_state=seed, n_init=10).fit(balanced.matrix)
    rows = _labels(balanced.rows, model.row_labels_)
    columns = _labels(balanced.columns, model.column_labels_)
    # Numbered by the first row of each, so that the answer does not hang on k-means' own order.
    order = list(dict.fromkeys(label for label in (*rows.tolist(), *columns.tolist()) if label >= 0))
    renamed = np.array([*(order.index(label) if label in order else -1 for label in range(blocks)), -1])
    rows, columns = renamed[rows], renamed[columns]
    return Biclusters(
        row_labels=rows, column_labels=columns, row_order=_by_label(rows), column_order=_by_label(columns)
    )


def order_by(values: Float[Array, " units"]) -> Int64[Array, " units"]:
    """Indices from the largest value to the smallest; those without one (NaN) last."""
    return np.argsort(-values, kind="stable").astype(np.int64)


def _labels(kept: Array, labels: Array) -> Array:
    """Labels of those that are kept, -1 for the others."""
    spread = np.full(len(kept), -1, np.int64)
    spread[kept] = labels
    return spread


def _by_label(labels: Array) -> Array:
    """Indices label by label, -1 last."""
    return np.argsort(np.where(labels < 0, len(labels), labels), kind="stable").astype(np.int64)
