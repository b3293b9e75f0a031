"""Test singular axes one after the other: is the next axis larger than chance makes it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

Array = np.ndarray

Draw = Callable[[int, np.random.Generator], Array]
"""Makes so many matrices of the null, float32 (count, rows, columns), from a generator."""

_ELEMENTS_AT_ONCE: Final = 1 << 22
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
    """What the null says of every axis; all arrays (axes,).

    Attributes:
        null_mean: mean share of the first axis of what the axes before leave of a null's matrix.
        null_std: its standard deviation.
        p_values: of each axis, never below that of an axis before it.
    """

    null_mean: Float[Array, " axes"]
    null_std: Float[Array, " axes"]
    p_values: Float[Array, " axes"]


def axis_tests(axes: Axes, draw: Draw, *, shuffles: int, seed: int, apart: int = 0) -> AxisTests:
    r"""Compare each axis with the first one of random matrices from which the axes before it are removed.

    With U and V the axes before k (and what is known), a null's matrix Z becomes
    \(Z_k = (1 - UU^T) Z (1 - VV^T)\), and its figure is \(\sigma_1(Z_k)^2 / \|Z_k\|_F^2\): what axis k is of the
    remainder of the real matrix.
    \[ p_k = \max\left(p_{k-1}, \frac{1 + \#\{Z : \text{null's} \ge \text{real}\}}{1 + \text{shuffles}}\right). \]
    So many first axes stand `apart`: what the null shares with the real matrix, so that they say nothing of the others.
    """
    shares = axes.remaining_shares
    null = np.concatenate(list(_null_shares(axes, draw, shuffles=shuffles, seed=seed)), axis=0)
    hits = np.count_nonzero(null >= shares * (1 - _ROUNDING), axis=0)
    # An axis of a matrix without any remainder is no finding.
    p_values = np.where(np.isfinite(shares), (1 + hits) / (1 + shuffles), 1.0)
    return AxisTests(
        null_mean=null.mean(axis=0),
        null_std=null.std(axis=0),
        p_values=np.concatenate([p_values[:apart], np.maximum.accumulate(p_values[apart:])]),
    )


def _null_shares(axes: Axes, draw: Draw, *, shuffles: int, seed: int) -> Iterator[Array]:
    """Shares of the null, (some, axes) at a time."""
    generator = np.random.default_rng(seed)
    rows, columns = len(axes.left), len(axes.right)
    at_once = max(1, _ELEMENTS_AT_ONCE // (rows * columns))
    for start in range(0, shuffles, at_once):
        matrices = draw(min(at_once, shuffles - start), generator)
        if rows <= columns:
            yield _first_shares(matrices, axes.known_left, axes.left, axes.known_right, axes.right)
        else:
            turned = matrices.swapaxes(1, 2)
            yield _first_shares(turned, axes.known_right, axes.right, axes.known_left, axes.left)


def _first_shares(matrices: Array, known_left: Array, left: Array, known_right: Array, right: Array) -> Array:
    """Share of the first axis once the known and the first k are removed, for every k; (count, axes).

    Removing directions on the right subtracts a product of few columns from the Gram matrix, and on the left projects
    it, so that one Gram matrix of the shorter side serves all k.
    """
    gram = matrices @ matrices.swapaxes(1, 2)
    shares = np.empty((len(matrices), left.shape[1]))
    for axis in range(left.shape[1]):
        before_left = np.hstack([known_left, left[:, :axis]]).astype(np.float32)
        before_right = np.hstack([known_right, right[:, :axis]]).astype(np.float32)
        along = matrices @ before_right
        rest = _projected(gram - along @ along.swapaxes(1, 2), before_left)
        total = np.trace(rest, axis1=1, axis2=2)
        first = np.linalg.eigvalsh(rest)[:, -1]
        shares[:, axis] = np.divide(first, total, out=np.zeros(len(total), np.float32), where=total > 0)
    return shares


def _projected(gram: Array, directions: Array) -> Array:
    """Take orthonormal directions out of symmetric matrices, on both sides."""
    across = gram @ directions
    inner = directions.T @ across
    mixed = across @ directions.T
    projected: Array = gram - mixed - mixed.swapaxes(1, 2) + directions @ inner @ directions.T
    return projected
