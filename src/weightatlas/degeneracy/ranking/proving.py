"""The rank of a large matrix at the rate of matrix products, with a proof; no singular value decomposition."""

from __future__ import annotations

from typing import Final

import torch
from scipy.fft import dct

from weightatlas.data.seeds import derived_seed

MIXINGS: Final = 2
"""Rounds of random signs and a cosine transform."""
MARGIN: Final = 2.0
"""How far both bounds must be from the threshold: what rounding adds to them is many orders of magnitude less."""
STEPS: Final = 60
"""Of the power iteration for the largest singular value; it stops once that is known to `SURE`."""
SURE: Final = 1e-3
TURNS: Final = 2
"""Times that the factor is transposed and factored again before a rank is left open: each costs a tenth of an SVD."""


def proved_rank(matrix: torch.Tensor, tolerance: float, *, seed: int = 0) -> tuple[int, float] | None:
    r"""Count singular values above `tolerance` times the largest, where bounds decide it.

    Columns are mixed by a random orthogonal map Q, and \(A Q = U R\) is a QR factorisation without pivots, whose
    leading rows then span the leading directions with all but no exceptions. With R cut at r,

    \(\sigma_{r+1}(A) \le \|R_{22}\|_F\) and \(\sigma_r(A) \ge \sigma_{\min}(R_{11}) \ge 1 / \|R_{11}^{-1}\|_F\).

    Where the first is below the threshold and the second above, r is the rank, whatever the mixing did. Where they are
    not, \(R^\top\) is factored once more, and again: the same singular values, and a step of subspace iteration, by
    which both bounds close in on them.

    Args:
        matrix: float64 (rows, columns).
        tolerance: relative to the largest singular value.
        seed: of the signs.

    Returns:
        The rank, and the largest singular value to a thousandth; None where the bounds leave it open.

    **Source:** the factorisation is RURV of Demmel, Dumitriu and Holtz, *Fast Linear Algebra Is Stable* (2007), with
    signs and cosine transforms in the place of a Haar matrix; factoring the transpose is the QLP of Stewart, *The QLP
    Approximation to the Singular Value Decomposition* (1999); the certificate is ours.

    Example:
        >>> left, right = torch.randn(60, 7, dtype=torch.float64), torch.randn(7, 40, dtype=torch.float64)
        >>> proved_rank(left @ right, 1e-9)[0]
        7
    """
    largest = largest_value(matrix)
    if largest == 0:
        return 0, 0.0
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
    factor = torch.linalg.qr(mixed(tall, seed), mode="r").R
    for turn in range(TURNS + 1):
        if turn:
            factor = torch.linalg.qr(factor.mT, mode="r").R
        rank = decided(factor, tolerance * largest)
        if rank is not None:
            return rank, largest
    return None


def proved_null(matrix: torch.Tensor, tolerance: float, *, seed: int = 0) -> torch.Tensor | None:
    r"""Orthonormal columns that span the right singular vectors of values up to `tolerance` times the largest.

    With \(A^\top Q = [U_1\, U_2] R\) and the rank r decided as `proved_rank` does, they are \(U_2\), and
    \(\|A U_2\| = \|R_{22}\|\).

    Args:
        matrix: float64 (rows, columns), not 0 throughout.
        tolerance: relative to the largest singular value.
        seed: of the signs.

    Returns:
        (columns, columns - rank); None where the bounds leave the rank open.

    Example:
        >>> proved_null(torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 2.0]], dtype=torch.float64), 1e-9).abs()
        tensor([[0.],
                [1.],
                [0.]], dtype=torch.float64)
    """
    basis, factor = torch.linalg.qr(mixed(matrix.mT, seed), mode="complete")
    rank = decided(factor, tolerance * largest_value(matrix))
    return None if rank is None else basis[:, rank:]


def decided(factor: torch.Tensor, threshold: float) -> int | None:
    """The number of singular values of a triangular factor above a threshold, if the bounds tell."""
    left = factor.square().sum(1).flip(0).cumsum(0).flip(0).sqrt()  # Frobenius norms of what is below each row
    rank = int((left > threshold / MARGIN).sum())
    leading = factor[:rank, :rank]
    if rank == 0 or leading.shape[1] < rank or bool((leading.diagonal() == 0).any()):
        return None
    eye = torch.eye(rank, dtype=leading.dtype, device=leading.device)
    inverse = float(torch.linalg.solve_triangular(leading, eye, upper=True).norm())
    return rank if 1 / inverse > threshold * MARGIN else None


def mixed(matrix: torch.Tensor, seed: int) -> torch.Tensor:
    """The same matrix in other, random orthonormal coordinates of its columns' space."""
    turned = matrix
    for number in range(MIXINGS):
        generator = torch.Generator().manual_seed(derived_seed(seed, number))
        signs = torch.randint(2, (matrix.shape[1],), generator=generator).to(matrix) * 2 - 1
        found = dct((turned * signs).cpu().numpy(), axis=1, norm="ortho", overwrite_x=True)
        turned = torch.from_numpy(found).to(matrix.device)
    return turned


def largest_value(matrix: torch.Tensor) -> float:
    """The largest singular value, from below, to about `SURE`."""
    vector = torch.ones(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    vector = vector + torch.linspace(0, 1, len(vector), dtype=matrix.dtype, device=matrix.device)
    found = 0.0
    for _ in range(STEPS):
        moved = matrix @ (vector / vector.norm())
        before, found = found, float(moved.norm())
        vector = matrix.mT @ moved
        if found == 0 or found - before < SURE * found / 10:
            break
    return found
