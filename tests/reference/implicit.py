"""Hidden branches as the definitions read: loops over units, explicit projections, one matrix at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def kernel_norms(weight: Array, power: int) -> Array:
    """Norm of every kernel of (out, in, ...)."""
    norms = np.zeros(weight.shape[:2])
    for out in range(weight.shape[0]):
        for channel in range(weight.shape[1]):
            norms[out, channel] = sum(abs(value) ** power for value in np.ravel(weight[out, channel])) ** (1 / power)
    return norms


def balanced(matrix: Array, rounds: int = 500) -> Array:
    """Rows and columns divided by their means in turn."""
    result: Array = matrix.copy()
    for _ in range(rounds):
        for row in range(len(result)):
            result[row] /= result[row].mean()
        for column in range(result.shape[1]):
            result[:, column] /= result[:, column].mean()
    return result


def correspondence(table: Array) -> Array:
    """Standardised residuals of correspondence analysis."""
    shares = table / table.sum()
    residual: Array = np.zeros_like(shares)
    for row in range(len(shares)):
        for column in range(shares.shape[1]):
            expected = shares[row].sum() * shares[:, column].sum()
            residual[row, column] = (shares[row, column] - expected) / np.sqrt(expected)
    return residual


def first_share(matrix: Array, left: Array, right: Array) -> float:
    """Share of the first singular value's square once orthonormal directions are taken out on both sides."""
    rest = (np.eye(len(matrix)) - left @ left.T) @ matrix @ (np.eye(matrix.shape[1]) - right @ right.T)
    squares = np.linalg.svd(rest, compute_uv=False) ** 2
    return float(squares[0] / squares.sum())
