"""The loops of batched NMF, compiled: cyclic coordinate descent on one unit's matrix at a time.

X = [relu(w), relu(-w)] is half zeros, so a unit is kept as its signed weights w, (m, channels), and both halves are
made as they are read. The weights lie in tiles of `TILE` channels, small enough for the first cache, each read once a
sweep; below its rows a tile holds its part of H, positive and negative half of a factor end to end. A matrix that is
non-negative anyway is all positive half, and the negative half of its H stays 0.

`ROWS` rows and `RANKS` factors are multiplied together: enough arithmetic for each load, few enough sums for the
registers. Everything is in this file because numba's cache looks at the file of the outermost function only.
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

TILE = 128
SIDES = 2 * TILE
ROWS = 5
RANKS = 3
VECTOR = 16  # W's rows are padded to whole SIMD registers: it is too short to afford a remainder
ZERO = np.float32(0)
ONE = np.float32(1)
SMALL = 1e-6  # scikit-learn's: entries of the start below it are filled with the mean


def compiled(function: Function) -> Function:
    """Compile without the interpreter lock, keep the machine code, and let sums be reordered for SIMD."""
    return cast("Function", numba.njit(nogil=True, cache=True, fastmath=True, error_model="numpy")(function))


@compiled
def padded(count: int, group: int) -> int:  # pragma: no cover
    """Return the next multiple of `group`."""
    return (count + group - 1) // group * group


@compiled
def workspace(rows: int, channels: int, rank: int) -> tuple[Floats, Floats]:  # pragma: no cover
    """Tiles for the weights, (tiles, padded rows * TILE), and for H, (tiles, padded rank * SIDES)."""
    tiles = padded(channels, TILE) // TILE
    weights = np.zeros((tiles, padded(rows, ROWS) * TILE), np.float32)
    return weights, np.zeros((tiles, padded(rank, RANKS) * SIDES), np.float32)


@compiled
def fill(unit: Floats, signed: bool, weights: Floats) -> float:  # pragma: no cover
    """Lay a unit into tiles, divided by its largest entry, and return that entry."""
    peak = float(np.max(np.abs(unit)))
    if peak == 0:
        return peak
    inverse = np.float32(1 / peak)
    by_row = unit.T if signed else unit
    for t in range(len(weights)):
        for row in range(len(by_row)):
            source = by_row[row, t * TILE : (t + 1) * TILE]
            place = weights[t, row * TILE : (row + 1) * TILE]
            for j in range(len(source)):
                place[j] = source[j] * inverse
    return peak


@compiled
def combine(weights: Floats, coefficients: Floats, out: Floats) -> None:  # pragma: no cover
    """Set out, (RANKS * SIDES), to coefficients, (RANKS, rows), times both halves of a tile's X."""
    out[:] = ZERO
    for row in range(0, len(weights) // TILE, ROWS):
        a0, a1, a2, a3, a4 = coefficients[0, row : row + ROWS]
        b0, b1, b2, b3, b4 = coefficients[1, row : row + ROWS]
        c0, c1, c2, c3, c4 = coefficients[2, row : row + ROWS]
        w = weights[row * TILE : (row + ROWS) * TILE]
        for j in range(TILE):
            w0, w1, w2, w3, w4 = w[j], w[TILE + j], w[2 * TILE + j], w[3 * TILE + j], w[4 * TILE + j]
            p0, p1, p2, p3, p4 = max(w0, ZERO), max(w1, ZERO), max(w2, ZERO), max(w3, ZERO), max(w4, ZERO)
            n0, n1, n2, n3, n4 = p0 - w0, p1 - w1, p2 - w2, p3 - w3, p4 - w4
            out[j] += a0 * p0 + a1 * p1 + a2 * p2 + a3 * p3 + a4 * p4
            out[TILE + j] += a0 * n0 + a1 * n1 + a2 * n2 + a3 * n3 + a4 * n4
            out[2 * TILE + j] += b0 * p0 + b1 * p1 + b2 * p2 + b3 * p3 + b4 * p4
            out[3 * TILE + j] += b0 * n0 + b1 * n1 + b2 * n2 + b3 * n3 + b4 * n4
            out[4 * TILE + j] += c0 * p0 + c1 * p1 + c2 * p2 + c3 * p3 + c4 * p4
            out[5 * TILE + j] += c0 * n0 + c1 * n1 + c2 * n2 + c3 * n3 + c4 * n4


@compiled
def accumulate(weights: Floats, factors: Floats, products: Floats) -> None:  # pragma: no cover
    """Add to products, (RANKS, rows), factors, (RANKS * SIDES), times the transpose of a tile's X.

    A weight is positive or negative, so it meets one of a factor's halves: one product in place of two.
    """
    for row in range(0, len(weights) // TILE, ROWS):
        w = weights[row * TILE : (row + ROWS) * TILE]
        a0 = a1 = a2 = a3 = a4 = b0 = b1 = b2 = b3 = b4 = c0 = c1 = c2 = c3 = c4 = ZERO
        for j in range(TILE):
            w0, w1, w2, w3, w4 = w[j], w[TILE + j], w[2 * TILE + j], w[3 * TILE + j], w[4 * TILE + j]
            p, n = factors[j], -factors[TILE + j]
            a0 += w0 * (p if w0 > ZERO else n)
            a1 += w1 * (p if w1 > ZERO else n)
            a2 += w2 * (p if w2 > ZERO else n)
            a3 += w3 * (p if w3 > ZERO else n)
            a4 += w4 * (p if w4 > ZERO else n)
            p, n = factors[2 * TILE + j], -factors[3 * TILE + j]
            b0 += w0 * (p if w0 > ZERO else n)
            b1 += w1 * (p if w1 > ZERO else n)
            b2 += w2 * (p if w2 > ZERO else n)
            b3 += w3 * (p if w3 > ZERO else n)
            b4 += w4 * (p if w4 > ZERO else n)
            p, n = factors[4 * TILE + j], -factors[5 * TILE + j]
            c0 += w0 * (p if w0 > ZERO else n)
            c1 += w1 * (p if w1 > ZERO else n)
            c2 += w2 * (p if w2 > ZERO else n)
            c3 += w3 * (p if w3 > ZERO else n)
            c4 += w4 * (p if w4 > ZERO else n)
        sums = ((a0, a1, a2, a3, a4), (b0, b1, b2, b3, b4), (c0, c1, c2, c3, c4))
        for r in range(RANKS):
            for i in range(ROWS):
                products[r, row + i] += sums[r][i]


@compiled
def couple(factors: Floats, coefficients: Floats, out: Floats) -> None:  # pragma: no cover
    """Add to out, RANKS rows end to end, coefficients, (RANKS, RANKS), times factors, laid out alike."""
    n = len(factors) // RANKS
    a0, a1, a2 = coefficients[0]
    b0, b1, b2 = coefficients[1]
    c0, c1, c2 = coefficients[2]
    for j in range(n):
        f0, f1, f2 = factors[j], factors[n + j], factors[2 * n + j]
        out[j] += a0 * f0 + a1 * f1 + a2 * f2
        out[n + j] += b0 * f0 + b1 * f1 + b2 * f2
        out[2 * n + j] += c0 * f0 + c1 * f1 + c2 * f2


@compiled
def inner(left: Floats, right: Floats, out: Floats) -> None:  # pragma: no cover
    """Add to out, (RANKS, RANKS), the inner products of RANKS rows end to end with RANKS others."""
    n = len(left) // RANKS
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = ZERO
    for j in range(n):
        l0, l1, l2 = left[j], left[n + j], left[2 * n + j]
        r0, r1, r2 = right[j], right[n + j], right[2 * n + j]
        a0 += l0 * r0
        a1 += l0 * r1
        a2 += l0 * r2
        b0 += l1 * r0
        b1 += l1 * r1
        b2 += l1 * r2
        c0 += l2 * r0
        c1 += l2 * r1
        c2 += l2 * r2
    sums = ((a0, a1, a2), (b0, b1, b2), (c0, c1, c2))
    for r in range(RANKS):
        for s in range(RANKS):
            out[r, s] += sums[r][s]


@compiled
def step(factors: Floats, products: Floats, gram: Floats) -> float:  # pragma: no cover
    """Move RANKS rows of factors to their minima in turn; return the sum of their projected gradients.

    Args:
        factors: (RANKS * n) rows end to end.
        products: (RANKS * n) their products with X, less what other factors explain: gradient = gram F - products.
        gram: (RANKS, RANKS) the second derivatives. Where one is 0 so is the gradient, and the row stays.
    """
    n = len(factors) // RANKS
    g00, g01, g02 = gram[0]
    g11, g12, g22 = gram[1, 1], gram[1, 2], gram[2, 2]
    i0 = ONE / g00 if g00 > ZERO else ZERO
    i1 = ONE / g11 if g11 > ZERO else ZERO
    i2 = ONE / g22 if g22 > ZERO else ZERO
    violation = ZERO
    for j in range(n):
        f0, f1, f2 = factors[j], factors[n + j], factors[2 * n + j]
        slope = g00 * f0 + g01 * f1 + g02 * f2 - products[j]
        violation += abs(min(slope, ZERO) if f0 == ZERO else slope)
        f0 = max(f0 - slope * i0, ZERO)
        slope = g01 * f0 + g11 * f1 + g12 * f2 - products[n + j]
        violation += abs(min(slope, ZERO) if f1 == ZERO else slope)
        f1 = max(f1 - slope * i1, ZERO)
        slope = g02 * f0 + g12 * f1 + g22 * f2 - products[2 * n + j]
        violation += abs(min(slope, ZERO) if f2 == ZERO else slope)
        f2 = max(f2 - slope * i2, ZERO)
        factors[j], factors[n + j], factors[2 * n + j] = f0, f1, f2
    return float(violation)


@compiled
def step_all(factors: Floats, products: Floats, gram: Floats) -> float:  # pragma: no cover
    """Step all factors, (rank * n) end to end; `products`, their products with X, is used up."""
    rank = len(gram)
    n = len(factors) // rank
    violation = 0.0
    for r in range(0, rank, RANKS):
        own = products[r * n : (r + RANKS) * n]
        for s in range(0, rank, RANKS):
            if s != r:
                couple(factors[s * n : (s + RANKS) * n], -gram[r : r + RANKS, s : s + RANKS], own)
        violation += step(factors[r * n : (r + RANKS) * n], own, gram[r : r + RANKS, r : r + RANKS])
    return violation


@compiled
def measure(weights: Floats, factors: Floats, products: Floats, gram: Floats) -> None:  # pragma: no cover
    """Add a tile's part of H X', (rank, rows), and of H H', (rank, rank)."""
    for r in range(0, len(gram), RANKS):
        own = factors[r * SIDES : (r + RANKS) * SIDES]
        accumulate(weights, own, products[r : r + RANKS])
        for s in range(0, len(gram), RANKS):
            inner(own, factors[s * SIDES : (s + RANKS) * SIDES], gram[r : r + RANKS, s : s + RANKS])


@compiled
def descend(weights: Floats, factors: Floats, spatial: Floats, limits: tuple[int, float]) -> int:  # pragma: no cover
    """Sweep W, (rank, padded rows), then H, until the projected gradients are small; return the number of sweeps."""
    rank = len(spatial)
    products = np.zeros(spatial.shape, np.float32)
    gram = np.zeros((rank, rank), np.float32)
    spatial_gram = np.zeros((rank, rank), np.float32)
    projected = np.empty(rank * SIDES, np.float32)
    for t in range(len(weights)):
        measure(weights[t], factors[t], products, gram)
    first = 0.0
    for sweep in range(1, limits[0] + 1):
        violation = step_all(spatial.reshape(-1), products.reshape(-1), gram)
        spatial_gram[:] = ZERO
        for r in range(0, rank, RANKS):
            for s in range(0, rank, RANKS):
                left, right = spatial[r : r + RANKS].reshape(-1), spatial[s : s + RANKS].reshape(-1)
                inner(left, right, spatial_gram[r : r + RANKS, s : s + RANKS])
        products[:] = ZERO
        gram[:] = ZERO
        for t in range(len(weights)):
            for r in range(0, rank, RANKS):
                combine(weights[t], spatial[r : r + RANKS], projected[r * SIDES : (r + RANKS) * SIDES])
            violation += step_all(factors[t], projected, spatial_gram)
            measure(weights[t], factors[t], products, gram)
        if sweep == 1:
            first = violation
        if violation <= limits[1] * first:
            return sweep
    return limits[0]


@compiled
def gram_matrices(data: Floats, signed: bool) -> Doubles:  # pragma: no cover
    """X X' of every unit, X divided by its largest entry: (units, m, m)."""
    rows, channels = (data.shape[2], data.shape[1]) if signed else (data.shape[1], data.shape[2])
    weights, halves = workspace(rows, channels, RANKS)
    products = np.empty((RANKS, padded(rows, ROWS)), np.float32)
    grams = np.zeros((len(data), rows, rows), np.float64)
    for u in range(len(data)):
        if fill(data[u], signed, weights) == 0:
            continue
        for row in range(0, rows, RANKS):
            products[:] = ZERO
            for t in range(len(weights)):
                for r in range(min(RANKS, rows - row)):
                    w = weights[t, (row + r) * TILE : (row + r + 1) * TILE]
                    for j in range(TILE):
                        halves[t, r * SIDES + j] = max(w[j], ZERO)
                        halves[t, r * SIDES + TILE + j] = max(-w[j], ZERO)
                accumulate(weights[t], halves[t], products)
            for r in range(min(RANKS, rows - row)):
                grams[u, row + r] = products[r, :rows]
    return grams


@compiled
def start(
    tiles: tuple[Floats, Floats],
    channels: tuple[int, int],
    peak: float,
    triplets: tuple[Doubles, Doubles],
    spatial: Floats,
) -> None:  # pragma: no cover
    """Set W and H by NNDSVDa from eigenvalues and eigenvectors of X X', the largest first.

    Of each singular pair the positive or the negative part is kept, whichever is larger; what is near 0 becomes the
    mean of X. The factors of X / peak are those of X over sqrt(peak), but for that mean and its threshold, which
    scikit-learn takes in the units of X: hence `peak`. `channels` are those of the positive and the negative half.
    """
    values, vectors = triplets
    weights, factors = tiles
    rows, rank = vectors.shape
    total = 0.0
    for t in range(len(weights)):
        total += np.sum(np.abs(weights[t]))
    mean = np.float32(total / (rows * (channels[0] + channels[1])) * np.sqrt(peak))
    small = np.float32(SMALL / np.sqrt(peak))
    coefficients = np.zeros((RANKS, spatial.shape[1]), np.float32)
    right = np.empty(RANKS * SIDES, np.float32)
    for r in range(rank):
        value = max(values[r], 0.0)
        coefficients[0, :rows] = vectors[:, r] / np.sqrt(value) if value > 1e-12 * values[0] else 0.0 * vectors[:, r]
        u_squares = squares_by_sign(vectors[:, r])
        v_squares = np.zeros(2)
        for t in range(len(weights)):
            combine(weights[t], coefficients, right)
            factors[t, r * SIDES : (r + 1) * SIDES] = right[:SIDES]
            v_squares += squares_by_sign(right[:SIDES])
        side = 0 if u_squares[0] * v_squares[0] > u_squares[1] * v_squares[1] else 1
        u_norm, v_norm = np.sqrt(u_squares[side]), np.sqrt(v_squares[side])
        level = (1.0 - 2.0 * side) * np.sqrt(np.sqrt(value) * u_norm * v_norm)
        scale = level / max(u_norm, 1e-30)
        for row in range(rows):
            entry = np.float32(vectors[row, r] * scale)
            spatial[r, row] = entry if entry >= small else mean
        factor = np.float32(level / max(v_norm, 1e-30))
        for t in range(len(weights)):
            for half in range(2):
                place = (2 * r + half) * TILE
                part = factors[t, place : place + min(TILE, max(0, channels[half] - t * TILE))]
                for j in range(len(part)):
                    entry = part[j] * factor
                    part[j] = entry if entry >= small else mean


@compiled
def squares_by_sign(values: Doubles | Floats) -> Doubles:  # pragma: no cover
    """Sums of squares of the positive and of the negative entries."""
    positive = negative = 0.0
    for value in values:
        positive += max(value, 0.0) ** 2
        negative += min(value, 0.0) ** 2
    return np.array([positive, negative])


@compiled
def residual(weights: Floats, factors: Floats, spatial: Floats) -> float:  # pragma: no cover
    """Sum of the squares of X - W H."""
    rank, rows = len(spatial), weights.shape[1] // TILE
    line = np.empty(TILE, np.float32)
    squares = 0.0
    for t in range(len(weights)):
        for row in range(rows):
            w = weights[t, row * TILE : (row + 1) * TILE]
            for half in range(2):
                sign = ONE if half == 0 else -ONE
                for j in range(TILE):
                    line[j] = max(sign * w[j], ZERO)
                for r in range(rank):
                    part = factors[t, (2 * r + half) * TILE : (2 * r + half + 1) * TILE]
                    for j in range(TILE):
                        line[j] -= spatial[r, row] * part[j]
                squares += np.sum(line * line)
    return squares


@compiled
def factorize_units(
    data: Floats,
    signed: bool,
    triplets: tuple[Doubles, Doubles],
    limits: tuple[int, float],
    made: tuple[Floats, Floats, Doubles, npt.NDArray[np.int64]],
) -> None:  # pragma: no cover
    """Solve each unit of a slab in one workspace.

    Args:
        data: (units, channels, taps) if `signed`, else (units, m, n).
        signed: whether X is [relu(w), relu(-w)] of each unit.
        triplets: eigenvalues (units, rank) and eigenvectors (units, m, rank) of X X' as in `start`.
        limits: sweeps at most, and the tolerance.
        made: W, H, error and sweeps of each unit, zero on entry, to be written.
    """
    values, vectors = triplets
    made_spatial, made_channel, error, iterations = made
    rows, rank = vectors.shape[1:]
    width = data.shape[1] if signed else data.shape[2]
    channels = (width, width if signed else 0)
    weights, factors = workspace(rows, width, rank)
    spatial = np.zeros((padded(rank, RANKS), padded(padded(rows, ROWS), VECTOR)), np.float32)
    for u in range(len(data)):
        peak = fill(data[u], signed, weights)
        iterations[u] = 1
        if peak == 0:
            continue
        factors[:] = ZERO
        start((weights, factors), channels, peak, (values[u], vectors[u]), spatial)
        iterations[u] = descend(weights, factors, spatial, limits)
        error[u] = np.sqrt(residual(weights, factors, spatial)) * peak
        scale = np.float32(np.sqrt(peak))
        made_spatial[u] = spatial[:rank, :rows].T * scale
        for t in range(len(weights)):
            for r in range(rank):
                for half in range(2):
                    first = half * width + t * TILE
                    part = made_channel[u, r, first : min(first + TILE, half * width + channels[half])]
                    place = (2 * r + half) * TILE
                    part[:] = factors[t, place : place + len(part)] * scale
