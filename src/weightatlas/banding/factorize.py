"""Batched NMF of a slab of units, compiled: scale, start, descend, measure what is left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightatlas.banding.coordinate_descent import descend, project
from weightatlas.banding.workspace import RANKS, TILE, ZERO, Workspace, compiled, entry

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

SMALL = 1e-6  # scikit-learn's: entries of the start below it are filled with the mean
TINY = 1e-30  # in place of 0 below a fraction bar


@entry
def scale_units(data: Floats, scaled: Floats, extents: Doubles) -> None:  # pragma: no cover
    """Divide units by their largest entry and lay their channels last; zero units stay zero.

    Args:
        data: (units, channels, m).
        scaled: (units, m, channels), to be written.
        extents: (units, 2), to be written: the largest size before, the sum of sizes after.
    """
    units, channels, rows = data.shape
    for u in range(units):
        unit, place = data[u], scaled[u]
        peak = total = ZERO
        for weight in unit.reshape(-1):
            peak = max(peak, abs(weight))
        inverse = np.float32(1 / float(peak)) if peak > ZERO else ZERO
        for j in range(channels):
            for row in range(rows):
                place[row, j] = unit[j, row] * inverse
        for weight in place.reshape(-1):
            total += abs(weight)
        extents[u, 0], extents[u, 1] = peak, total


@compiled
def start(
    work: Workspace, counts: tuple[int, int], levels: tuple[float, float], values: Doubles, vectors: Doubles
) -> None:  # pragma: no cover
    """Set W and H by NNDSVDa from eigenvalues and eigenvectors of X X', the largest first.

    Of each singular pair the positive or the negative part is kept, whichever is larger; what is below the second of
    `levels` becomes the first. `counts`: channels of each half.
    """
    weights, factors, spatial, _, projected, scratch, _, _ = work
    rows, rank = vectors.shape
    n = spatial.shape[1] // RANKS
    width = len(projected) // (2 * RANKS * len(spatial))
    for r in range(rank):
        inverse = 1 / np.sqrt(values[r]) if values[r] > 1e-12 * values[0] else 0.0
        for row in range(rows):
            spatial[r // RANKS, r % RANKS * n + row] = vectors[row, r] * inverse
    for t in range(len(weights)):
        for block in range(len(spatial)):
            place = block * RANKS * 2 * width
            own = factors[t, place : place + RANKS * 2 * width]
            project(weights[t], spatial[block], counts[1] > 0, scratch, own)
    for r in range(rank):
        left = spatial[r // RANKS, r % RANKS * n : r % RANKS * n + rows]
        for row in range(rows):
            left[row] = vectors[row, r]
        up, down = squares_by_sign(left)
        right_up = right_down = 0.0
        for t in range(len(weights)):
            more_up, more_down = squares_by_sign(factors[t, 2 * r * width : (2 * r + 2) * width])
            right_up += more_up
            right_down += more_down
        sign = 1.0 if up * right_up > down * right_down else -1.0
        norm, other = (np.sqrt(up), np.sqrt(right_up)) if sign > 0 else (np.sqrt(down), np.sqrt(right_down))
        level = sign * np.sqrt(np.sqrt(max(values[r], 0.0)) * norm * other)
        keep_large(left, level / max(norm, TINY), levels)
        for t in range(len(weights)):
            for half in range(2):
                place = (2 * r + half) * width
                used = max(0, min(width, counts[half] - t * width))
                keep_large(factors[t, place : place + used], level / max(other, TINY), levels)


@compiled
def squares_by_sign(values: Floats) -> tuple[float, float]:  # pragma: no cover
    """Sums of squares of the positive and of the negative entries."""
    positive = negative = 0.0
    for value in values:
        positive += max(value, ZERO) ** 2
        negative += min(value, ZERO) ** 2
    return positive, negative


@compiled
def keep_large(values: Floats, scale: float, levels: tuple[float, float]) -> None:  # pragma: no cover
    """Scale, then set what is below the second level to the first."""
    factor, mean, small = np.float32(scale), np.float32(levels[0]), np.float32(levels[1])
    for j in range(len(values)):
        scaled = values[j] * factor
        values[j] = scaled if scaled >= small else mean


@compiled
def residual(work: Workspace) -> float:  # pragma: no cover
    """Sum of the squares of X - W H."""
    weights, factors, spatial, _, projected, scratch, _, _ = work
    ranks, n = len(spatial) * RANKS, spatial.shape[1] // RANKS
    width = len(projected) // (2 * ranks)
    positive, negative = scratch[:width], scratch[width : 2 * width]
    squares = 0.0
    for t in range(len(weights)):
        for row in range(weights.shape[1] // TILE):
            w = weights[t, row * TILE : row * TILE + width]
            for j in range(width):
                positive[j], negative[j] = max(w[j], ZERO), max(-w[j], ZERO)
            for r in range(ranks):
                coefficient = spatial[r // RANKS, r % RANKS * n + row]
                up = factors[t, 2 * r * width : (2 * r + 1) * width]
                down = factors[t, (2 * r + 1) * width : (2 * r + 2) * width]
                for j in range(width):
                    positive[j] -= coefficient * up[j]
                    negative[j] -= coefficient * down[j]
            total = ZERO
            for j in range(width):
                total += positive[j] * positive[j] + negative[j] * negative[j]
            squares += float(total)
    return squares


@entry
def factorize_units(
    slab: tuple[Floats, Doubles],
    triplets: tuple[Doubles, Doubles],
    limits: tuple[int, float],
    made: tuple[Floats, Floats, Doubles, npt.NDArray[np.int64]],
    work: Workspace,
) -> None:  # pragma: no cover
    """Solve each unit of a slab in one workspace.

    Args:
        slab: units, (units, m, channels), and their extents, (units, 2), as `scale_units` leaves them.
        triplets: eigenvalues (units, rank) and eigenvectors (units, m, rank) of X X' as in `start`.
        limits: sweeps at most, and the tolerance.
        made: W, H, error and sweeps of each unit, zero on entry, to be written; X is [relu(w), relu(-w)] if H has
            twice the channels of w, else w.
        work: of `workspace`.
    """
    scaled, extents = slab
    values, vectors = triplets
    made_spatial, made_channel, error, iterations = made
    units, rows, channels = scaled.shape
    signed = made_channel.shape[2] > channels
    counts = (channels, channels if signed else 0)
    width = len(work.projected) // (2 * RANKS * len(work.spatial))
    for u in range(units):
        peak, total = extents[u, 0], extents[u, 1]
        iterations[u] = 1
        if peak == 0:
            continue
        for t in range(len(work.weights)):
            for row in range(rows):
                source = scaled[u, row, t * width : (t + 1) * width]
                place = work.weights[t, row * TILE : row * TILE + len(source)]
                for j in range(len(source)):
                    place[j] = source[j]
        # The factors of X / peak are those of X over sqrt(peak), but scikit-learn's threshold is in the units of X.
        levels = (total / (rows * (counts[0] + counts[1])) * np.sqrt(peak), SMALL / np.sqrt(peak))
        start(work, counts, levels, values[u], vectors[u])
        iterations[u] = descend(work, signed, limits)
        error[u] = np.sqrt(residual(work)) * peak
        write(work, np.float32(np.sqrt(peak)), made_spatial[u], made_channel[u], counts[0])


@compiled
def write(
    work: Workspace, scale: np.float32, spatial: Floats, channel: Floats, channels: int
) -> None:  # pragma: no cover
    """Copy W, (m, rank), and H, (rank, columns), out of the tiles."""
    rows, rank = spatial.shape
    n = work.spatial.shape[1] // RANKS
    width = len(work.projected) // (2 * RANKS * len(work.spatial))
    for r in range(rank):
        for row in range(rows):
            spatial[row, r] = work.spatial[r // RANKS, r % RANKS * n + row] * scale
        for half in range(channel.shape[1] // channels):
            for t in range(len(work.factors)):
                first = half * channels + t * width
                part = channel[r, first : min(first + width, (half + 1) * channels)]
                place = (2 * r + half) * width
                own = work.factors[t, place : place + len(part)]
                for j in range(len(part)):
                    part[j] = own[j] * scale
