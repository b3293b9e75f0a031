"""The loops of batched NMF, compiled: cyclic coordinate descent on one unit's matrix at a time.

A unit's matrix X lies in tiles of `TILE` columns, so that a tile is read from memory once a sweep. Below its m rows of
X a tile holds its part of H. So the gradient of a row of H, (W'W)_r H - W_r'X, is one product of the tile with one row
of coefficients, and what the step on W needs, X H' and H H', is one product of the tile with its rows of H. Both are
done for `RANKS` factors and `ROWS` rows together: enough arithmetic for each load, few enough sums for the registers.

Everything is in this file because numba's cache looks at the file of the outermost function only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Function = TypeVar("Function", bound="Callable[..., object]")

TILE = 256
ROWS = 4
RANKS = 3
ZERO = np.float32(0)
ONE = np.float32(1)
SMALL = 1e-6  # scikit-learn's: entries of the start below it are filled with the mean


def compiled(function: Function) -> Function:
    """Compile without the interpreter lock, keep the machine code, and let sums be reordered for SIMD."""
    return cast("Function", numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")(function))


@compiled
def workspace(rows: int, columns: int, rank: int) -> Floats:  # pragma: no cover - compiled
    """Tiles for a matrix and its factors, (tiles, padded rows, TILE)."""
    padded = (rows + (rank + RANKS - 1) // RANKS * RANKS + ROWS - 1) // ROWS * ROWS
    return np.zeros(((columns + TILE - 1) // TILE, padded, TILE), np.float32)


@compiled
def fill(unit: Floats, signed: bool, tiles: Floats) -> float:  # pragma: no cover - compiled
    """Lay a unit's matrix into tiles, divided by its largest entry, and return that entry."""
    peak = float(np.max(np.abs(unit)))
    if peak == 0:
        return peak
    inverse = np.float32(1 / peak)
    if signed:
        channels, taps = unit.shape
        for tap in range(taps):
            place(unit[:, tap], inverse, tiles[:, tap], 0)
            place(unit[:, tap], -inverse, tiles[:, tap], channels)
    else:
        for row in range(len(unit)):
            place(unit[row], inverse, tiles[:, row], 0)
    return peak


@compiled
def place(values: Floats, factor: np.float32, row: Floats, first: int) -> None:  # pragma: no cover - compiled
    """Write the positive part of factor times values into a row of tiles, (tiles, TILE), from column `first` on."""
    for i in range(len(values)):
        column = np.uint64(first + i)
        row[column // np.uint64(TILE), column % np.uint64(TILE)] = max(factor * values[i], ZERO)


@compiled
def combine(tile: Floats, coefficients: Floats, out: Floats) -> None:  # pragma: no cover - compiled
    """Set out, (RANKS * TILE), to coefficients, (RANKS, rows), times tile, (rows, TILE)."""
    flat = tile.reshape(-1)
    out[:] = ZERO
    for row in range(0, tile.shape[0], ROWS):
        a0, a1, a2, a3 = (
            coefficients[0, row],
            coefficients[0, row + 1],
            coefficients[0, row + 2],
            coefficients[0, row + 3],
        )
        b0, b1, b2, b3 = (
            coefficients[1, row],
            coefficients[1, row + 1],
            coefficients[1, row + 2],
            coefficients[1, row + 3],
        )
        c0, c1, c2, c3 = (
            coefficients[2, row],
            coefficients[2, row + 1],
            coefficients[2, row + 2],
            coefficients[2, row + 3],
        )
        x = flat[row * TILE : (row + ROWS) * TILE]
        for j in range(TILE):
            x0, x1, x2, x3 = x[j], x[TILE + j], x[2 * TILE + j], x[3 * TILE + j]
            out[j] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            out[TILE + j] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            out[2 * TILE + j] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3


@compiled
def accumulate(tile: Floats, first: int, products: Floats) -> None:  # pragma: no cover - compiled
    """Add to products, (RANKS, rows), the products of tile rows first, first + 1, first + 2 with every row."""
    flat = tile.reshape(-1)
    h = flat[first * TILE : (first + RANKS) * TILE]
    for row in range(0, tile.shape[0], ROWS):
        x = flat[row * TILE : (row + ROWS) * TILE]
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = ZERO
        for j in range(TILE):
            x0, x1, x2, x3 = x[j], x[TILE + j], x[2 * TILE + j], x[3 * TILE + j]
            h0, h1, h2 = h[j], h[TILE + j], h[2 * TILE + j]
            a0 += x0 * h0
            a1 += x1 * h0
            a2 += x2 * h0
            a3 += x3 * h0
            b0 += x0 * h1
            b1 += x1 * h1
            b2 += x2 * h1
            b3 += x3 * h1
            c0 += x0 * h2
            c1 += x1 * h2
            c2 += x2 * h2
            c3 += x3 * h2
        sums = ((a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3))
        for r in range(RANKS):
            for i in range(ROWS):
                products[r, row + i] += sums[r][i]


@compiled
def step(factors: Floats, slopes: Floats, gram: Floats) -> float:  # pragma: no cover - compiled
    """Move RANKS rows of factors to their minima in turn; return the sum of their projected gradients.

    Args:
        factors: (RANKS * n) rows end to end.
        slopes: (RANKS * n) their gradients before the step.
        gram: (RANKS, RANKS) the second derivatives. Where one is 0 so is the slope, and the row stays.
    """
    n = len(factors) // RANKS
    inverse = np.zeros(RANKS, np.float32)
    for r in range(RANKS):
        if gram[r, r] > ZERO:
            inverse[r] = ONE / gram[r, r]
    i0, i1, i2 = inverse
    g01, g02, g12 = gram[0, 1], gram[0, 2], gram[1, 2]
    first, second, third = factors[:n], factors[n : 2 * n], factors[2 * n : 3 * n]
    violation = ZERO
    for j in range(n):
        f0, f1, f2 = first[j], second[j], third[j]
        s0 = slopes[j]
        moved = max(f0 - s0 * i0, ZERO)
        first[j] = moved
        s1 = slopes[n + j] + g01 * (moved - f0)
        s2 = slopes[2 * n + j] + g02 * (moved - f0)
        moved = max(f1 - s1 * i1, ZERO)
        second[j] = moved
        s2 += g12 * (moved - f1)
        third[j] = max(f2 - s2 * i2, ZERO)
        violation += abs(min(s0, ZERO) if f0 == ZERO else s0)
        violation += abs(min(s1, ZERO) if f1 == ZERO else s1)
        violation += abs(min(s2, ZERO) if f2 == ZERO else s2)
    return float(violation)


@compiled
def step_spatial(spatial: Floats, products: Floats) -> float:  # pragma: no cover - compiled
    """Update W, (rank, m), from products = H [X; H]', (rank, m + rank)."""
    rank, rows = spatial.shape
    slopes = np.empty((RANKS, rows), np.float32)
    violation = 0.0
    for r in range(0, rank, RANKS):
        for a in range(RANKS):
            for i in range(rows):
                slope = -products[r + a, i]
                for s in range(rank):
                    slope += products[r + a, rows + s] * spatial[s, i]
                slopes[a, i] = slope
        gram = products[r : r + RANKS, rows + r : rows + r + RANKS]
        violation += step(spatial[r : r + RANKS].reshape(-1), slopes.reshape(-1), gram)
    return violation


@compiled
def step_tiles(
    tiles: Floats, coefficients: Floats, products: Floats, rows: int
) -> float:  # pragma: no cover - compiled
    """Update H tile by tile, and sum the products of the new H while the tile is near."""
    rank = len(coefficients)
    slopes = np.empty(RANKS * TILE, np.float32)
    violation = 0.0
    products[:] = ZERO
    for t in range(len(tiles)):
        tile = tiles[t]
        for r in range(0, rank, RANKS):
            combine(tile, coefficients[r : r + RANKS], slopes)
            factors = tile[rows + r : rows + r + RANKS].reshape(-1)
            violation += step(factors, slopes, coefficients[r : r + RANKS, rows + r : rows + r + RANKS])
        for r in range(0, rank, RANKS):
            accumulate(tile, rows + r, products[r : r + RANKS])
    return violation


@compiled
def descend(
    tiles: Floats, spatial: Floats, max_iterations: int, tolerance: float
) -> int:  # pragma: no cover - compiled
    """Sweep W, then H, until the sum of projected gradients is `tolerance` of the first sweep's; return the sweeps."""
    rank, rows = spatial.shape
    coefficients = np.zeros((rank, tiles.shape[1]), np.float32)
    products = np.zeros((rank, tiles.shape[1]), np.float32)
    for t in range(len(tiles)):
        for r in range(0, rank, RANKS):
            accumulate(tiles[t], rows + r, products[r : r + RANKS])
    first = 0.0
    for sweep in range(1, max_iterations + 1):
        violation = step_spatial(spatial, products)
        for r in range(rank):
            coefficients[r, :rows] = -spatial[r]
            for s in range(rank):
                coefficients[r, rows + s] = np.sum(spatial[r] * spatial[s])
        violation += step_tiles(tiles, coefficients, products, rows)
        if sweep == 1:
            first = violation
        if violation <= tolerance * first:
            return sweep
    return max_iterations


@compiled
def gram_matrices(data: Floats, signed: bool) -> Doubles:  # pragma: no cover - compiled
    """X X' of every unit, X divided by its largest entry: (units, m, m)."""
    rows = data.shape[2] if signed else data.shape[1]
    columns = 2 * data.shape[1] if signed else data.shape[2]
    tiles = workspace(rows, columns, RANKS)
    products = np.empty((RANKS, tiles.shape[1]), np.float32)
    grams = np.zeros((len(data), rows, rows), np.float64)
    for u in range(len(data)):
        if fill(data[u], signed, tiles) == 0:
            continue
        for row in range(0, rows, RANKS):
            products[:] = ZERO
            for t in range(len(tiles)):
                accumulate(tiles[t], row, products)
            for r in range(min(RANKS, rows - row)):
                grams[u, row + r] = products[r, :rows]
    return grams


@compiled
def start(
    tiles: Floats, columns: int, peak: float, triplets: tuple[Doubles, Doubles], spatial: Floats
) -> None:  # pragma: no cover - compiled
    """Set W and H by NNDSVDa from eigenvalues and eigenvectors of X X', the largest first.

    Of each singular pair the positive or the negative part is kept, whichever is larger; what is near 0 becomes the
    mean of X. The factors of X / peak are those of X over sqrt(peak), but for that mean and its threshold, which
    scikit-learn takes in the units of X: hence `peak`.
    """
    values, vectors = triplets
    rows, rank = vectors.shape
    mean = np.float32(np.sum(tiles[:, :rows]) / (rows * columns) * np.sqrt(peak))
    small = np.float32(SMALL / np.sqrt(peak))
    coefficients = np.zeros((RANKS, tiles.shape[1]), np.float32)
    right = np.empty(RANKS * TILE, np.float32)
    for r in range(rank):
        value = max(values[r], 0.0)
        coefficients[0, :rows] = vectors[:, r] / np.sqrt(value) if value > 1e-12 * values[0] else 0.0 * vectors[:, r]
        norms = np.zeros((2, 2))
        norms[0] = squares_by_sign(vectors[:, r])
        for t in range(len(tiles)):
            combine(tiles[t], coefficients, right)
            tiles[t, rows + r] = right[:TILE]
            norms[1] += squares_by_sign(right[:TILE])
        norms = np.sqrt(norms)
        side = 0 if norms[0, 0] * norms[1, 0] > norms[0, 1] * norms[1, 1] else 1
        sign = 1.0 - 2.0 * side
        level = np.sqrt(np.sqrt(value) * norms[0, side] * norms[1, side])
        scale = sign * level / max(norms[0, side], 1e-30)
        for row in range(rows):
            entry = np.float32(vectors[row, r] * scale)
            spatial[r, row] = entry if entry >= small else mean
        factor = np.float32(sign * level / max(norms[1, side], 1e-30))
        for t in range(len(tiles)):
            part = tiles[t, rows + r, : columns - t * TILE]
            for j in range(len(part)):
                entry = part[j] * factor
                part[j] = entry if entry >= small else mean


@compiled
def squares_by_sign(values: Doubles | Floats) -> Doubles:  # pragma: no cover - compiled
    """Sums of squares of the positive and of the negative entries."""
    positive = negative = 0.0
    for value in values:
        positive += max(value, 0.0) ** 2
        negative += min(value, 0.0) ** 2
    return np.array([positive, negative])


@compiled
def residual(tiles: Floats, spatial: Floats) -> float:  # pragma: no cover - compiled
    """Sum of the squares of X - W H."""
    rank, rows = spatial.shape
    coefficients = np.empty((RANKS, tiles.shape[1]), np.float32)
    difference = np.empty(RANKS * TILE, np.float32)
    squares = 0.0
    for row in range(0, rows, RANKS):
        coefficients[:] = ZERO
        for i in range(min(RANKS, rows - row)):
            coefficients[i, row + i] = ONE
            coefficients[i, rows : rows + rank] = -spatial[:, row + i]
        for t in range(len(tiles)):
            combine(tiles[t], coefficients, difference)
            squares += np.sum(difference * difference)
    return squares


@compiled
def factorize_units(
    data: Floats,
    signed: bool,
    triplets: tuple[Doubles, Doubles],
    limits: tuple[int, float],
    made: tuple[Floats, Floats, Doubles, npt.NDArray[np.int64]],
) -> None:  # pragma: no cover - compiled
    """Solve each unit of a slab in one workspace.

    Args:
        data: (units, channels, taps) if `signed`, else (units, m, n).
        signed: whether X is [relu(w), relu(-w)] of each unit.
        triplets: eigenvalues (units, rank) and eigenvectors (units, m, rank) of X X' as in `start`.
        limits: sweeps at most, and the tolerance.
        made: W, H, error and sweeps of each unit, zero on entry, to be written.
    """
    values, vectors = triplets
    spatial, channel, error, iterations = made
    rows, rank = vectors.shape[1:]
    columns = channel.shape[2]
    tiles = workspace(rows, columns, rank)
    factors = np.zeros(((rank + RANKS - 1) // RANKS * RANKS, rows), np.float32)
    for u in range(len(data)):
        peak = fill(data[u], signed, tiles)
        iterations[u] = 1
        if peak == 0:
            continue
        start(tiles, columns, peak, (values[u], vectors[u]), factors)
        iterations[u] = descend(tiles, factors, limits[0], limits[1])
        error[u] = np.sqrt(residual(tiles, factors)) * peak
        scale = np.float32(np.sqrt(peak))
        spatial[u] = factors[:rank].T * scale
        for t in range(len(tiles)):
            part = channel[u, :, t * TILE : (t + 1) * TILE]
            part[:] = tiles[t, rows : rows + rank, : part.shape[1]] * scale
