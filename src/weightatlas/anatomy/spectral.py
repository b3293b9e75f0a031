"""The largest singular value of a matrix, and the stable rank that a random matrix of its shape would have."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from weightatlas.anatomy.widening import row_chunks

if TYPE_CHECKING:
    import numpy.typing as npt

TOLERANCE: Final = 1e-4
"""Relative error allowed in a spectral norm that is found by iteration."""

_EXACT: Final = 256  # with fewer rows or columns than this, the whole Gram matrix is cheaper than an iteration
_CHUNK: Final = 1 << 18  # elements at a time: they stay in the cache between the two products of a step
_RESIDUAL: Final = 1e-3  # of the Ritz vector; the Ritz value's error goes with its square over the gap
_SMALL: Final = 8
_DRAWS: Final = 10_000
_TRACY_WIDOM_MEAN: Final = -1.2065336
_TRACY_WIDOM_STD: Final = 1.2680340


def spectral_norm(matrix: Float[torch.Tensor, "out rest"], *, largest: float, seed: int = 0) -> float:
    """The largest singular value of a finite matrix of any floating-point type.

    The square root of the largest eigenvalue of the Gram matrix: exact where the matrix has no more than 256 rows or
    columns, else by Lanczos iteration from a seeded start, to a relative error of 1e-4. Every step reads the matrix
    once, in chunks, and widens half precision on the way, so that no copy of the matrix is made.

    Args:
        matrix: every value finite.
        largest: its largest magnitude; squares are taken relative to it, so that none overflows.
        seed: of the iteration's start.

    Example:
        >>> round(spectral_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0]]), largest=4.0), 6)
        4.0
    """
    if largest == 0.0 or 0 in matrix.shape:
        return 0.0
    eigenvalue = _exact(matrix, largest) if min(matrix.shape) <= _EXACT else _iterated(matrix, largest, seed)
    return largest * math.sqrt(max(eigenvalue, 0.0))


@lru_cache(maxsize=4096)
def random_stable_rank(rows: int, columns: int) -> float:
    """The stable rank to expect of a matrix of independent Gaussian entries.

    The expected squared Frobenius norm, rows x columns, over the expected largest eigenvalue of a white Wishart matrix,
    mu + sigma E[F1], with p = min, n = max of the two, F1 the Tracy-Widom law of order 1 (mean -1.2065) and

        mu = (sqrt(n - 1) + sqrt(p))^2,    sigma = (sqrt(n - 1) + sqrt(p)) (1 / sqrt(n - 1) + 1 / sqrt(p))^(1/3).

    Never less than 1 nor more than p; within 2 percent of simulation. The law is one of large matrices: up to p = 8 the
    mean of 10,000 seeded draws stands in its place, from the triangular factor of a Wishart matrix, whose cost does not
    depend on n.

    **Source:** Johnstone, On the distribution of the largest eigenvalue in principal components analysis (2001),
    theorem 1.1. The triangular factor: Bartlett (1933).

    Example:
        >>> round(random_stable_rank(64, 576), 1)
        36.8
    """
    few, many = sorted((rows, columns))
    if few <= 1:
        return float(few)
    if few <= _SMALL:
        return float(_simulated_stable_ranks(few, many).mean())
    centre, spread = _edge(few, many)
    return min(max(rows * columns / (centre + _TRACY_WIDOM_MEAN * spread), 1.0), float(few))


@lru_cache(maxsize=4096)
def random_rank_spread(rows: int, columns: int) -> float:
    """The standard deviation of a random matrix's stable rank, as a part of its mean.

    To first order sqrt(v^2 - 2 / (rows columns)), with v = 1.2680 sigma / (mu - 1.2065 sigma) the relative deviation of
    the largest eigenvalue in `random_stable_rank`'s terms. The second term takes away that of the squared Frobenius
    norm, which the stable rank, a ratio, does not depend on. Up to 8 rows or columns, that of the seeded draws.

    Example:
        >>> round(random_rank_spread(64, 576), 3)
        0.021
    """
    few, many = sorted((rows, columns))
    if few <= 1:
        return 0.0
    if few <= _SMALL:
        draws = _simulated_stable_ranks(few, many)
        return float(draws.std() / draws.mean())
    centre, spread = _edge(few, many)
    deviation = _TRACY_WIDOM_STD * spread / (centre + _TRACY_WIDOM_MEAN * spread)
    return math.sqrt(max(deviation * deviation - 2 / (rows * columns), 0.0))


def _edge(few: int, many: int) -> tuple[float, float]:
    edges = math.sqrt(many - 1) + math.sqrt(few)
    return edges * edges, edges * (1 / math.sqrt(many - 1) + 1 / math.sqrt(few)) ** (1 / 3)


def _simulated_stable_ranks(few: int, many: int) -> npt.NDArray[np.float64]:
    generator = np.random.default_rng(0)
    factors = np.tril(generator.standard_normal((_DRAWS, few, few)), -1)
    diagonal = np.arange(few)
    factors[:, diagonal, diagonal] = np.sqrt(generator.chisquare(many - diagonal, (_DRAWS, few)))
    eigenvalues = np.linalg.eigvalsh(factors @ factors.transpose(0, 2, 1))
    ranks: npt.NDArray[np.float64] = eigenvalues.sum(axis=1) / eigenvalues[:, -1]
    return ranks


def _exact(matrix: torch.Tensor, largest: float) -> float:
    wide = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    size = wide.shape[1]
    gram = np.zeros((size, size))
    for chunk in row_chunks(wide, np.float64, elements=_CHUNK):
        scaled = chunk / largest
        gram += scaled.T @ scaled
    return float(linalg.eigh(gram, eigvals_only=True, subset_by_index=[size - 1, size - 1])[0])


def _iterated(matrix: torch.Tensor, largest: float, seed: int) -> float:
    precision: type[np.floating[Any]] = np.float64 if matrix.dtype == torch.float64 else np.float32
    size = matrix.shape[1]

    def gram_product(vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
        direction: npt.NDArray[Any] = (vector.ravel() / largest).astype(precision)
        product: npt.NDArray[Any] = np.zeros(size, dtype=precision)
        for chunk in row_chunks(matrix, precision, elements=_CHUNK):
            product += (chunk @ direction) @ chunk
        product /= largest
        return product

    start = np.random.default_rng(seed).standard_normal(size).astype(precision)
    gram = LinearOperator((size, size), matvec=gram_product, dtype=precision)
    return float(eigsh(gram, k=1, which="LA", v0=start, tol=_RESIDUAL, return_eigenvectors=False)[0])
