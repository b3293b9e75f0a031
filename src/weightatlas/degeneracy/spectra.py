"""Singular values of activations or gradients, how many of them count, and the directions along which nothing is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE: Final = 1e-9
"""Singular values up to this share of the largest count as 0, where the arithmetic can tell them from 0 at all."""

SQUARED_SHARE: Final = 1e-8
"""Eigenvalues of a Gram matrix up to this share of the largest are computed again from the activations themselves.

A Gram matrix is right to a few eps of its largest eigenvalue. So a direction that it gives for an eigenvalue of 0 leans
towards that of an eigenvalue lambda by eps / lambda, and what activations are along it is eps / sqrt(lambda). Only
directions of eigenvalues above this share are left to lean on: what remains is eps / 1e-4 where it was sqrt(eps).
"""

EPS_UNITS: Final = 32
"""How wrong a Gram matrix may be, in eps of its arithmetic; a random walk over a thousand chunks comes this far."""

ROUNDING_MARGIN: Final = 4
"""Rounding is measured on a few examples; all of them may have so many times more."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    r"""The singular values of a layer's activations or gradients.

    Of rows \(f_1 \dots f_P\) they are \(\sigma_i = \sqrt{\lambda_i}\), with \(\lambda_i\) the eigenvalues of
    \(\frac{1}{P} \sum f f^T\), uncentred, a constant activation included where the layer has a bias. Of a grouped
    layer they are those of all its groups together.

    Attributes:
        singular_values: float64 (width,), descending, not negative.
        shares: float64 (width,), each as a share of the largest of its own group, 0 to 1.
        noise: the smallest share that can be told from 0 at the precision of the data and the sums; ranks count nothing
            that is not above it, whatever the tolerance.

    Example:
        >>> spectrum = Spectrum.of([2.0, 2.0, 0.0])
        >>> spectrum.rank(), round(spectrum.effective_rank, 6), round(spectrum.participation_ratio, 6)
        (2, 2.0, 2.0)
    """

    singular_values: Array
    shares: Array
    noise: float

    @classmethod
    def of(cls, values: Sequence[float] | Array, *, noise: float = 0.0) -> Spectrum:
        """The spectrum of one group that has these singular values."""
        ordered = np.sort(np.asarray(values, dtype=np.float64))[::-1]
        return cls(ordered, _shares(ordered), noise)

    @classmethod
    def together(cls, factors: Sequence[Factor]) -> Spectrum:
        """The spectrum of all groups of a layer."""
        values = np.concatenate([factor.values for factor in factors])
        shares = np.concatenate([_shares(factor.values) for factor in factors])
        order = np.argsort(-values, kind="stable")
        return cls(values[order], shares[order], max(factor.noise for factor in factors))

    def rank(self, tolerance: float = TOLERANCE) -> int:
        """How many singular values are above this share of the largest, and above the noise."""
        return int((self.shares > max(tolerance, self.noise)).sum())

    @property
    def effective_rank(self) -> float:
        r"""How many directions the squares are spread over: \(\exp(-\sum_i p_i \ln p_i)\).

        \(p_i = \lambda_i / \sum_j \lambda_j\). 1 to the rank; 0 where everything is 0.

        **Source:** Roy and Vetterli, "The effective rank", EUSIPCO 2007, of eigenvalues of the Gram matrix in place of
        singular values, so that it may stand beside the participation ratio.
        """
        parts = self._parts()
        return float(np.exp(-(parts * np.log(parts)).sum())) if parts.size else 0.0

    @property
    def participation_ratio(self) -> float:
        r"""The same by second moments: \((\sum_i \lambda_i)^2 / \sum_i \lambda_i^2\)."""
        parts = self._parts()
        return float(1 / (parts**2).sum()) if parts.size else 0.0

    def _parts(self) -> Array:
        """The eigenvalues that are not 0, as shares of their sum."""
        if not self.singular_values.size or self.singular_values[0] == 0:
            return np.empty(0)
        squares = (self.singular_values / self.singular_values[0]) ** 2
        parts: Array = squares[squares > 0] / squares.sum()
        return parts


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """Singular values of one group, and the vectors of those that may be 0.

    Attributes:
        values: float64 (width,), descending.
        vectors: float64 (width, k), orthonormal: the right singular vectors of the last k values, in their order.
        noise: the smallest share of the largest value that can be told from 0.
    """

    values: Array
    vectors: Array
    noise: float

    def rank(self, tolerance: float = TOLERANCE) -> int:
        """How many values are above this share of the largest, and above the noise."""
        return int((_shares(self.values) > max(tolerance, self.noise)).sum())

    def null(self, gram: Array, tolerance: float = TOLERANCE) -> Array:
        """An orthonormal basis of the directions that `rank` leaves out, (width, k).

        Args:
            gram: the Gram matrix, for tolerances so coarse that more directions are left out than are kept here.
            tolerance: as a share of the largest value.
        """
        count = len(self.values) - self.rank(tolerance)
        if count <= self.vectors.shape[1]:
            return self.vectors[:, self.vectors.shape[1] - count :]
        return np.ascontiguousarray(np.linalg.eigh(gram)[1][:, :count][:, ::-1])


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """What a Gram matrix tells of its spectrum, and the directions that it does not tell from 0.

    Attributes:
        large: float64, singular values that are right, descending, of the sum as it is, undivided.
        small: float64 (k,), the others as the matrix has them, descending.
        leaning: float64 (width, k), orthonormal: together they span what may be 0, each of them only about.
        zeros: int64, coordinates that are 0 throughout.
        stable_rank: the sum of all eigenvalues over the largest; 0 where there are none.
    """

    large: Array
    small: Array
    leaning: torch.Tensor
    zeros: npt.NDArray[np.int64]
    stable_rank: float

    @classmethod
    def of(cls, gram: torch.Tensor, *, share: float = SQUARED_SHARE) -> Suspects:
        """Take a Gram matrix apart.

        Coordinates that are 0 throughout need no second look, and dead units and empty pixels are the commonest reason
        for a rank to be short.
        """
        width = len(gram)
        alive = gram.diagonal() > 0
        kept = alive.nonzero().flatten()
        zeros = (~alive).nonzero().flatten().cpu().numpy()
        if not len(kept):
            return cls(np.empty(0), np.empty(0), gram.new_zeros(width, 0), zeros, 0.0)
        values, vectors = torch.linalg.eigh(gram[kept][:, kept])
        few = int((values <= share * values[-1]).sum())
        leaning = gram.new_zeros(width, few)
        leaning[kept] = vectors[:, :few].flip(1)
        roots = values.clamp(min=0).flip(0).sqrt().cpu().numpy()
        split = len(roots) - few
        stable = float(values.sum() / values[-1])
        return cls(roots[:split], roots[split:], leaning, zeros, stable)

    @property
    def count(self) -> int:
        """How many directions need a second look."""
        return int(self.leaning.shape[1])

    def joined(self, triangle: torch.Tensor | None, positions: int, *, noise: float) -> Factor:
        """Join what is right with what the second look gave.

        Args:
            triangle: R of a QR factorisation of all rows along the leaning directions; None where none was made, and
                the values stand as the Gram matrix has them.
            positions: what the sum is divided by.
            noise: the smallest share that can be told from 0.
        """
        width = len(self.leaning)
        values, vectors = self.small, self.leaning
        if triangle is not None:
            _, found, right = torch.linalg.svd(triangle, full_matrices=True)
            values = np.zeros(self.count)
            values[: len(found)] = found.cpu().numpy()
            vectors = self.leaning @ right.mT
        known = np.zeros((width, len(self.zeros)))
        known[self.zeros, np.arange(len(self.zeros))] = 1
        every = np.concatenate([self.large, values, np.zeros(len(self.zeros))]) / positions**0.5
        return Factor(np.sort(every)[::-1], np.concatenate([vectors.cpu().numpy(), known], axis=1), noise)


def settled(
    suspects: Sequence[Suspects],
    triangles: Sequence[torch.Tensor | None],
    positions: int,
    *,
    floor: float,
    share: float = 0.0,
) -> tuple[Factor, ...]:
    r"""Join both looks of every group, and say what is noise.

    A share \(\rho\) of rounding in the rows, \(\|E\| = \rho \|F\|\), moves no singular value by more than
    \(\rho \|F\| = \rho \sqrt{r}\, \sigma_1\), where \(r = \|F\|^2 / \sigma_1^2\) is the stable rank.

    Args:
        suspects: of each group.
        triangles: of each group, as `Suspects.joined` takes them.
        positions: what the sums are divided by.
        floor: the share of the largest value below which the sums themselves tell nothing.
        share: of the rows' length that is rounding, as measured on few of them.
    """
    return tuple(
        each.joined(triangle, positions, noise=max(floor, ROUNDING_MARGIN * share * each.stable_rank**0.5))
        for each, triangle in zip(suspects, triangles, strict=True)
    )


def gram_noise(dtype: torch.dtype) -> float:
    r"""The share of the largest singular value below which sums in this type cannot tell it from 0.

    In float64 directions of small eigenvalues are computed again (`SQUARED_SHARE`); otherwise a singular value is no
    better than the root of its eigenvalue.

    Example:
        >>> f"{gram_noise(torch.float64):.0e}", f"{gram_noise(torch.float32):.0e}"
        ('7e-11', '2e-03')
    """
    error = EPS_UNITS * torch.finfo(dtype).eps
    return math.sqrt(error if dtype != torch.float64 else error**2 / SQUARED_SHARE)


def _shares(values: Array) -> Array:
    """Values in descending order as shares of the first; 0 where that is 0."""
    return np.divide(values, values[0]) if values.size and values[0] > 0 else np.zeros_like(values)
