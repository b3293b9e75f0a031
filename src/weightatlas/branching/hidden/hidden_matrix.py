"""The matrices whose singular axes are hidden branches, and what chance makes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
from jaxtyping import Float

from weightatlas.branching.hidden.axis_tests import Axes
from weightatlas.branching.hidden.balancing import Balanced, balance, balance_batch

if TYPE_CHECKING:
    from weightatlas.branching.hidden.axis_tests import Draw

Array = np.ndarray

Method = Literal["balanced", "correspondence", "centred", "raw"]
METHODS: tuple[Method, ...] = get_args(Method)

Null = Literal["signs", "shuffled"]
NULLS: tuple[Null, ...] = get_args(Null)

_ROUNDING: Final = 1e-9
"""What is smaller beside the sizes of connections is what balancing leaves of nothing."""

_SHUFFLED_ROUNDS: Final = 200
_SHUFFLED_TOLERANCE: Final = 1e-4
"""Shuffled matrices are balanced in float32 to this: their shares move by far less than they differ."""


@dataclass(frozen=True, slots=True, eq=False)
class Decomposed:
    """The sizes of connections in the form of one method, decomposed.

    Attributes:
        axes: singular vectors on the rows and columns that are kept.
        balanced: the balanced matrix, and which rows and columns those are.
        draw: makes matrices of the null in the same form.
        tested: the axes whose test holds its level.
    """

    axes: Axes
    balanced: Balanced
    draw: Draw
    tested: tuple[int, ...]


def decompose(matrix: Float[Array, "rows columns"], *, method: Method, null: Null, count: int) -> Decomposed:
    """Bring a non-negative matrix to the form of a method and take its first singular axes.

    Raises:
        ValueError: fewer than two rows or columns have connections.
    """
    balanced = balance(matrix)
    if min(balanced.matrix.shape) < 2:
        rows, columns = balanced.matrix.shape
        message = f"hidden branches need two connected units on either side; here are {rows} and {columns}"
        raise ValueError(message)
    table = _table(balanced, balanced.matrix, method)
    residual = _formed(table, method)
    if np.abs(residual).max() <= _ROUNDING * table.max():
        residual = np.zeros_like(residual)
    known_left, known_right = _margins(table, method)
    left, values, right = np.linalg.svd(residual, full_matrices=False)
    # Each known direction costs a rank: the last singular value of a balanced matrix is rounding.
    rank = min(residual.shape) - known_left.shape[1]
    kept = min(count, rank)
    axes = Axes(left[:, :kept], values[:rank], right[:kept].T, known_left, known_right)
    draw = _flipping(balanced, residual, axes, method) if null == "signs" else _shuffling(balanced, method)
    return Decomposed(axes, balanced, draw, _tested(method, null, kept))


def _tested(method: Method, null: Null, count: int) -> tuple[int, ...]:
    """The axes whose test holds its level.

    Only from the balanced matrix can a first axis be taken out without a trace. The first axis of the raw one is size.
    Margins of correspondence analysis follow the largest units, which random signs on its residuals do not.
    """
    if null == "signs" and method == "balanced":
        return tuple(range(count))
    if null == "signs" and method == "correspondence":
        return ()
    return (1,) if method == "raw" else (0,)


def _table(balanced: Balanced, spread: Array, method: Method) -> Array:
    """The sizes of connections (..., rows, columns) for how units spread their weights: but for "balanced", scaled."""
    if method == "balanced":
        return spread
    # A common factor changes nothing; without it numbers stay near 1.
    rows, columns = (scales / scales.mean() for scales in (balanced.row_scales, balanced.column_scales))
    sized: Array = rows[:, None].astype(spread.dtype) * spread * columns.astype(spread.dtype)
    return sized


def _formed(table: Array, method: Method) -> Array:
    """Tables (..., rows, columns) in the form whose axes are asked for."""
    if method == "balanced":
        return table - 1
    if method == "correspondence":
        rows, columns = table.sum(axis=-1, keepdims=True), table.sum(axis=-2, keepdims=True)
        expected = rows * columns / rows.sum(axis=-2, keepdims=True)
        residual: Array = (table - expected) / np.sqrt(expected)
        return residual
    return table - table.mean(axis=-1, keepdims=True) if method == "centred" else table


def _margins(table: Array, method: Method) -> tuple[Array, Array]:
    """The directions that the form has removed, (rows, known) and (columns, known), of unit length."""
    if method in ("balanced", "correspondence"):
        rows, columns = (np.sqrt(table.sum(axis=axis) / table.sum())[:, None] for axis in (1, 0))
        return rows, columns
    return np.empty((len(table), 0)), np.empty((table.shape[1], 0))


def _flipping(balanced: Balanced, residual: Array, axes: Axes, method: Method) -> Draw:
    """Random signs on what is left of every connection when the sizes of its two units are taken out.

    Where that is the matrix whose axes are tested, the axes before are taken out as well: a connection's spread is then
    what they leave of it.
    """
    flipped_last = method in ("balanced", "correspondence")

    def draw(count: int, generator: np.random.Generator, axis: int) -> Array:
        if not flipped_last:
            flipped = _signed(balanced.matrix - 1, count, generator)
            for across in (1, 2):
                flipped -= flipped.mean(axis=across, keepdims=True)
            return _formed(_table(balanced, 1 + flipped, method), method)
        before = axes.left[:, :axis] * axes.values[:axis] @ axes.right[:, :axis].T
        return _signed(residual - before, count, generator)

    return draw


def _signed(values: Array, count: int, generator: np.random.Generator) -> Array:
    """A matrix with random signs on all elements, so many times, float32 (count, rows, columns)."""
    packed = np.frombuffer(generator.bytes(count * -(-values.size // 8)), dtype=np.uint8).reshape(count, -1)
    bits = np.unpackbits(packed, axis=1, count=values.size).reshape(count, *values.shape)
    signed: Array = (2 * bits.astype(np.float32) - 1) * values.astype(np.float32)
    return signed


def _shuffling(balanced: Balanced, method: Method) -> Draw:
    """All elements of the balanced matrix in random places, balanced again or given their units' sizes back."""
    values = balanced.matrix.astype(np.float32)

    def draw(count: int, generator: np.random.Generator, _: int) -> Array:
        flat = np.broadcast_to(values.reshape(-1), (count, values.size))
        shuffled = generator.permuted(flat, axis=1).reshape(count, *values.shape)
        if method == "balanced":
            balance_batch(shuffled, rounds=_SHUFFLED_ROUNDS, tolerance=_SHUFFLED_TOLERANCE)
        return _formed(_table(balanced, shuffled, method), method)

    return draw
