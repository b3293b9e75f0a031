"""Test singular axes one after the other: is the next axis larger than chance makes it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

Array = np.ndarray

Draw = Callable[[int, np.random.Generator, int], Array]
"""Makes so many matrices of the null, float32 (count, rows, columns), from a generator, for one axis."""

_ELEMENTS_AT_ONCE: Final = 1 << 22
LARGE: Final = 192
"""Matrices whose shorter side has as many units are decomposed by iteration: from there on it is faster."""

_ROUNDING: Final = 1e-5
"""Shares of the null are computed in float32; one that is as large up to its rounding counts as a hit."""


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """Singular vectors and values, and the directions that were taken out before.

    Attributes:
        left: (rows, axes), orthonormal columns.
        values: all singular values, descending.
        right: (columns, axes).
        known_left: what is no axis to be found, (rows, any): the sizes that balancing has removed; orthonormal.
        known_right: (columns, any).
    """

    left: Float[Array, "rows axes"]
    values: Float[Array, " rank"]
    right: Float[Array, "columns axes"]
    known_left: Float[Array, "rows known"]
    known_right: Float[Array, "columns known"]

    @property
    def remaining_shares(self) -> Float[Array, " axes"]:
        r"""\(s_k^2 / \sum_{j \ge k} s_j^2\): of what the axes before have left, the share of axis k."""
        squares = self.values**2
        remaining = np.cumsum(squares[::-1])[::-1]
        count = self.left.shape[1]
        shares: Array = np.divide(
            squares[:count], remaining[:count], out=np.full(count, np.nan), where=remaining[:count] > 0
        )
        return shares


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AxisTests:
    """What the null says of every axis; all arrays (axes,), NaN for axes that are not tested.

    Attributes:
        null_mean: mean share of the first axis of what the axes before leave of a null's matrix.
        null_std: its standard deviation.
        p_values: of each axis, never below that of an axis tested before it.
    """

    null_mean: Float[Array, " axes"]
    null_std: Float[Array, " axes"]
    p_values: Float[Array, " axes"]


def axis_tests(axes: Axes, draw: Draw, *, tested: Sequence[int], shuffles: int, seed: int) -> AxisTests:
    r"""Compare each axis with the first one of random matrices from which the axes before it are removed.

    With U and V the axes before k (and what is known), a matrix Z that the null draws for axis k becomes
    \(Z_k = (1 - UU^T) Z (1 - VV^T)\), and its figure is \(\sigma_1(Z_k)^2 / \|Z_k\|_F^2\): what axis k is of the
    remainder of the real matrix.
    \[ p_k = \max\left(p_{k-1}, \frac{1 + \#\{Z : \text{null's} \ge \text{real}\}}{1 + \text{shuffles}}\right). \]
    """
    shares = axes.remaining_shares
    null_mean, null_std, p_values = (np.full(len(shares), np.nan) for _ in range(3))
    largest = 0.0
    for axis in (axis for axis in tested if axis < len(shares)):
        null = _null_shares(axes, draw, axis, shuffles=shuffles, seed=seed)
        hits = np.count_nonzero(null >= shares[axis] * (1 - _ROUNDING))
        # An axis of a matrix without any remainder is no finding.
        largest = max(largest, (1 + hits) / (1 + shuffles)) if np.isfinite(shares[axis]) else 1.0
        null_mean[axis], null_std[axis], p_values[axis] = null.mean(), null.std(), largest
    return AxisTests(null_mean=null_mean, null_std=null_std, p_values=p_values)


def _null_shares(axes: Axes, draw: Draw, axis: int, *, shuffles: int, seed: int) -> Array:
    """Share of the first axis in the null's matrices, once what is known and the axes before are removed."""
    generator = np.random.default_rng(seed)
    left = np.hstack([axes.known_left, axes.left[:, :axis]]).astype(np.float32)
    right = np.hstack([axes.known_right, axes.right[:, :axis]]).astype(np.float32)
    at_once = max(1, _ELEMENTS_AT_ONCE // (len(left) * len(right)))
    shares = []
    for start in range(0, shuffles, at_once):
        matrices = draw(min(at_once, shuffles - start), generator, axis)
        sides = (left, right) if len(left) <= len(right) else (right, left)
        wide = matrices if len(left) <= len(right) else matrices.swapaxes(1, 2)
        shares.append((_first_shares if len(sides[0]) < LARGE else _first_shares_of_large)(wide, *sides))
    return np.concatenate(shares)


def _first_shares(matrices: Array, left: Array, right: Array) -> Array:
    """Share of the first singular value's square, of matrices no taller than wide, with directions removed.

    All is in the Gram matrix of the shorter side: directions on the right leave it by a product of few columns, those
    on the left by a projection.
    """
    along = matrices @ right
    gram = matrices @ matrices.swapaxes(1, 2) - along @ along.swapaxes(1, 2)
    rest = _projected(gram, left)
    total = np.trace(rest, axis1=1, axis2=2)
    first = np.linalg.eigvalsh(rest)[:, -1]
    shares: Array = np.divide(first, total, out=np.zeros_like(total), where=total > 0)
    return shares.astype(np.float64)


def _first_shares_of_large(matrices: Array, left: Array, right: Array) -> Array:
    """The same one by one, by Lanczos' iteration: of a large matrix only the first singular value is worth its time."""
    shares = np.zeros(len(matrices))
    start = np.random.default_rng(0).normal(size=len(left)).astype(np.float32)
    for place, matrix in enumerate(matrices):
        above, aside = left.T @ matrix, matrix @ right
        rest = matrix - left @ above - (aside - left @ (above @ right)) @ right.T
        total = float(np.vdot(rest, rest))
        if total > 0:
            gram = LinearOperator((len(left),) * 2, matvec=partial(_twice, rest), dtype=np.float32)
            values = eigsh(gram, k=1, which="LA", tol=_ROUNDING / 10, v0=start, return_eigenvectors=False)
            shares[place] = values[0] / total
    return shares


def _twice(matrix: Array, vector: Array) -> Array:
    product: Array = matrix @ (matrix.T @ vector)
    return product


def _projected(gram: Array, directions: Array) -> Array:
    """Take orthonormal directions out of symmetric matrices, on both sides."""
    across = gram @ directions
    inner = directions.T @ across
    mixed = across @ directions.T
    projected: Array = gram - mixed - mixed.swapaxes(1, 2) + directions @ inner @ directions.T
    return projected
