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


def proved_rank(matrix: torch.Tensor, tolerance: float, *, seed: int = 0) -> tuple[int, float] | None:
    r"""Count singular values above `tolerance` times the largest, where bounds decide it.

    Columns are mixed by a random orthogonal map Q, and \(A Q = U R\) is a QR factorisation without pivots, whose
    leading rows then span the leading directions with all but no exceptions. With R cut at r,

    \(\sigma_{r+1}(A) \le \|R_{22}\|_F\) and \(\sigma_r(A) \ge \sigma_{\min}(R_{11}) \ge 1 / \|R_{11}^{-1}\|_F\).

    Where the first is below the threshold and the second above, r is the rank, whatever the mixing did.

    Args:
        matrix: float64 (rows, columns).
        tolerance: relative to the largest singular value.
        seed: of the signs.

    Returns:
        The rank, and the largest singular value to a thousandth; None where the bounds leave it open.

    **Source:** the factorisation is RURV of Demmel, Dumitriu and Holtz, *Fast Linear Algebra Is Stable* (2007), with
    signs and cosine transforms in the place of a Haar matrix; the certificate is ours.

    Example:
        >>> left, right = torch.randn(60, 7, dtype=torch.float64), torch.randn(7, 40, dtype=torch.float64)
        >>> proved_rank(left @ right, 1e-9)[0]
        7
    """
    largest = _largest(matrix)
    if largest == 0:
        return 0, 0.0
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
    factor = torch.linalg.qr(_mixed(tall, seed), mode="r").R
    left = factor.square().sum(1).flip(0).cumsum(0).flip(0).sqrt()  # Frobenius norms of what is below each row
    threshold = tolerance * largest
    rank = int((left > threshold / MARGIN).sum())
    if rank == 0:
        return None
    leading = factor[:rank, :rank]
    if bool((leading.diagonal() == 0).any()):
        return None
    eye = torch.eye(rank, dtype=leading.dtype, device=leading.device)
    inverse = float(torch.linalg.solve_triangular(leading, eye, upper=True).norm())
    return (rank, largest) if 1 / inverse > threshold * MARGIN else None


def _mixed(matrix: torch.Tensor, seed: int) -> torch.Tensor:
    """The same matrix in other, random orthonormal coordinates of its columns' space."""
    mixed = matrix
    for number in range(MIXINGS):
        generator = torch.Generator().manual_seed(derived_seed(seed, number))
        signs = torch.randint(2, (matrix.shape[1],), generator=generator).to(matrix) * 2 - 1
        turned = dct((mixed * signs).cpu().numpy(), axis=1, norm="ortho", overwrite_x=True)
        mixed = torch.from_numpy(turned).to(matrix.device)
    return mixed


def _largest(matrix: torch.Tensor) -> float:
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
