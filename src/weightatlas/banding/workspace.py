"""Where one unit's factorisation happens, and how its loops are compiled.

X = [relu(w), relu(-w)] is half zeros, so a unit is kept as its signed weights w, (m, channels), and both halves are
made as they are read. The channels are shared among tiles, equally and in whole SIMD registers: a tile's weights fit
the first caches, a row every `TILE` numbers, with as many channels to a tile, its `width`, as the unit needs. H holds
the positive and the negative half of a factor end to end. A matrix that is non-negative anyway is all positive half,
and the negative half of its H stays 0.

`ROWS` rows and `RANKS` factors are multiplied together: enough arithmetic for each load, few enough sums for the
registers. More factors are more blocks of `RANKS`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float32]
Function = TypeVar("Function", bound="Callable[..., object]")

TILE = 272
ROWS = 5
RANKS = 3
VECTOR = 16  # what is read in one go is padded to whole SIMD registers: it is too short to afford a remainder
ZERO = np.float32(0)
ONE = np.float32(1)
INSIDE: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Workspace(NamedTuple):
    """What one unit is solved in; `blocks` of RANKS factors each.

    Attributes:
        weights: (tiles, padded m * TILE): w, rows first.
        factors: (tiles, blocks * RANKS * 2 width): H.
        spatial: (blocks, RANKS * padded m): the transpose of W.
        products: as `spatial`: H X'.
        projected: (blocks * RANKS * 2 width): W' X of a tile.
        scratch: (2 * RANKS * TILE).
        spatial_gram: W' W of each pair of blocks, end to end; of a block with itself the upper triangle.
        gram: the same of H H'.
    """

    weights: Floats
    factors: Floats
    spatial: Floats
    products: Floats
    projected: Floats
    scratch: Floats
    spatial_gram: Floats
    gram: Floats


def workspace(rows: int, channels: int, rank: int) -> Workspace:
    """Arrays of zeros for units of (channels, rows)."""
    tiles = -(-channels // TILE)
    width = -(-channels // (tiles * VECTOR)) * VECTOR
    blocks = -(-rank // RANKS)
    steps = -(-rows // ROWS) * ROWS
    side = RANKS * -(-steps // VECTOR) * VECTOR
    grams = (blocks * blocks * RANKS * RANKS,)
    shapes = (
        (tiles, steps * TILE),
        (tiles, blocks * RANKS * 2 * width),
        (blocks, side),
        (blocks, side),
        (blocks * RANKS * 2 * width,),
        (2 * RANKS * TILE,),
        grams,
        grams,
    )
    return Workspace(*(_aligned(shape) for shape in shapes))


def _aligned(shape: tuple[int, ...]) -> Floats:
    """Zeros that begin where a SIMD register's load does not straddle two cache lines."""
    count = math.prod(shape)
    room = np.zeros(count + VECTOR, np.float32)
    first = -(room.ctypes.data // room.itemsize) % VECTOR
    return room[first : first + count].reshape(shape)


def entry(function: Function) -> Function:
    """Compile what Python calls: without the interpreter lock, the machine code kept.

    numba keeps it until the file of this function changes; for a change in a file it calls, clear `__pycache__`.
    """
    return cast("Function", numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")(function))


def compiled(function: Function) -> Function:
    """Compile what only compiled code calls; sums may be reordered for SIMD."""
    return cast("Function", numba.njit(**INSIDE, fastmath=True)(function))


def compiled_as_written(function: Function) -> Function:
    """As `compiled`, but keep the order of sums, and a product apart from the sum it goes into."""
    return cast("Function", numba.njit(**INSIDE, fastmath={"nnan", "ninf", "nsz"})(function))
