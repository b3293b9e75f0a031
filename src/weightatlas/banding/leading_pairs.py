"""The leading eigenvalues and eigenvectors of X X' of many units at once, compiled.

LAPACK finds all eigenvectors of one small matrix in the time that 25 sweeps of the factorisation take. Only the first
few are wanted, and `LANES` units can go through the same steps together, one in each lane of the SIMD registers:
Householder's reduction to a tridiagonal matrix, bisection for the eigenvalues, a twisted factorisation for the vectors.
Close eigenvalues can defeat the last; each answer is checked, and what fails is for LAPACK.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightatlas.banding.workspace import ZERO, compiled, entry

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LANES = 16
HALVINGS = 56  # of an interval, until its ends are neighbours in double precision
TINY = 1e-300
ACCURATE = 1e-9  # of the largest eigenvalue: what a residual may be
ORTHOGONAL = 1e-6  # what the inner product of two vectors may be


@entry
def gram_matrices(scaled: Floats, grams: Doubles) -> None:  # pragma: no cover
    """Write X X' of up to LANES units, (m, m, LANES), zero on entry, from their weights, (units, m, channels)."""
    units, rows, channels = scaled.shape
    for u in range(units):
        for row in range(rows):
            left = scaled[u, row]
            for other in range(row + 1):
                right = scaled[u, other]
                total = ZERO
                for j in range(channels):
                    total += max(ZERO, left[j] * right[j])  # weights of one sign meet
                grams[row, other, u] = grams[other, row, u] = total


@compiled
def tridiagonal(matrices: Doubles, made: Doubles, along: Doubles) -> None:  # pragma: no cover
    """Reduce (m, m, LANES) by Householder's reflections, whose vectors v replace the columns below the diagonal.

    The first three of `made`, (5, m, LANES), zero on entry, become the diagonal, the entries beside it and 2 / |v|^2;
    the rest of it and `along`, (LANES,), are room to work in. Of the matrices the lower triangle is read.
    """
    rows = len(matrices)
    diagonal, beside, factor, product, vector = made[0], made[1], made[2], made[3], made[4]
    for k in range(rows):
        for u in range(LANES):
            diagonal[k, u] = matrices[k, k, u]
            along[u] = 0.0
        for i in range(k + 1, rows):
            for u in range(LANES):
                vector[i, u] = matrices[i, k, u]
                along[u] += vector[i, u] * vector[i, u]
                product[i, u] = 0.0
        if k == rows - 1:
            break
        for u in range(LANES):
            head = vector[k + 1, u]
            norm = np.sqrt(along[u]) if head < 0 else -np.sqrt(along[u])
            square = along[u] - head * norm  # half of |v|^2
            beside[k, u] = norm
            vector[k + 1, u] = head - norm
            matrices[k + 1, k, u] = head - norm
            factor[k, u] = 1 / square if square > TINY else 0.0
        reflect(matrices, k + 1, vector, product, factor[k])


@compiled
def reflect(
    matrices: Doubles, first: int, vector: Doubles, product: Doubles, factor: Doubles
) -> None:  # pragma: no cover
    """Reflect the rows and columns from `first` on: A - v w' - w v', w = p - (p'v) v / |v|^2, p = 2 A v / |v|^2.

    `factor` is 2 / |v|^2; `product`, zero on entry, becomes w.
    """
    rows = len(matrices)
    for i in range(first, rows):
        for j in range(first, i + 1):
            once = 1.0 if j < i else 0.0
            for u in range(LANES):
                product[i, u] += matrices[i, j, u] * vector[j, u]
                product[j, u] += once * matrices[i, j, u] * vector[i, u]
    for u in range(LANES):
        along = 0.0
        for i in range(first, rows):
            product[i, u] *= factor[u]
            along += product[i, u] * vector[i, u]
        for i in range(first, rows):
            product[i, u] -= 0.5 * factor[u] * along * vector[i, u]
    for i in range(first, rows):
        for j in range(first, i + 1):
            for u in range(LANES):
                matrices[i, j, u] -= vector[i, u] * product[j, u] + product[i, u] * vector[j, u]


@compiled
def bisect(diagonal: Doubles, beside: Doubles, values: Doubles, spare: Doubles) -> None:  # pragma: no cover
    """Write the largest eigenvalues, (rank, LANES), found by Sturm counts; `spare`, (6, LANES), is room."""
    reach, low, high, middle, pivot, above = spare[0], spare[1], spare[2], spare[3], spare[4], spare[5]
    for u in range(LANES):
        reach[u] = 0.0
        for i in range(len(diagonal)):
            before = abs(beside[i - 1, u]) if i > 0 else 0.0
            reach[u] = max(reach[u], abs(diagonal[i, u]) + abs(beside[i, u]) + before)
    for r in range(len(values)):
        for u in range(LANES):
            low[u], high[u] = -reach[u], reach[u] if r == 0 else values[r - 1, u]
        for _ in range(HALVINGS):
            for u in range(LANES):
                middle[u] = 0.5 * (low[u] + high[u])
            count_above(diagonal, beside, middle, pivot, above)
            for u in range(LANES):
                low[u], high[u] = (middle[u], high[u]) if above[u] > r else (low[u], middle[u])
        for u in range(LANES):
            values[r, u] = 0.5 * (low[u] + high[u])


@compiled
def count_above(
    diagonal: Doubles, beside: Doubles, value: Doubles, pivot: Doubles, above: Doubles
) -> None:  # pragma: no cover
    """Count the eigenvalues above a value: the positive pivots of the matrix less the value."""
    for u in range(LANES):
        pivot[u] = diagonal[0, u] - value[u]
        above[u] = 1.0 if pivot[u] > 0 else 0.0
    for i in range(1, len(diagonal)):
        for u in range(LANES):
            last = TINY if abs(pivot[u]) < TINY else pivot[u]
            pivot[u] = diagonal[i, u] - value[u] - beside[i - 1, u] ** 2 / last
            above[u] += 1.0 if pivot[u] > 0 else 0.0


@compiled
def twisted(columns: Doubles, value: float) -> float:  # pragma: no cover
    """Find a tridiagonal matrix's unit eigenvector of an eigenvalue; return the norm of the residual.

    Of `columns`, (5, m), the first two are the diagonal and the entries beside it, the third is the vector to be
    written, the others are room.

    The matrix less the eigenvalue is eliminated from both ends; where the two meet with the smallest pivot the vector
    is largest, and it follows from there to both sides.
    """
    diagonal, beside, vector, down, up = columns[0], columns[1], columns[2], columns[3], columns[4]
    rows = len(diagonal)
    for i in range(rows):
        coupling = beside[i - 1] ** 2 / down[i - 1] if i > 0 else 0.0
        down[i] = diagonal[i] - value - coupling
        down[i] = TINY if abs(down[i]) < TINY else down[i]
    middle, smallest = 0, np.inf
    for i in range(rows - 1, -1, -1):
        coupling = beside[i] ** 2 / up[i + 1] if i < rows - 1 else 0.0
        up[i] = diagonal[i] - value - coupling
        up[i] = TINY if abs(up[i]) < TINY else up[i]
        meeting = abs(down[i] - coupling)
        if meeting < smallest:
            middle, smallest = i, meeting
    vector[middle] = 1.0
    square = 1.0
    for i in range(middle - 1, -1, -1):
        vector[i] = -beside[i] * vector[i + 1] / down[i]
        square += vector[i] ** 2
    for i in range(middle + 1, rows):
        vector[i] = -beside[i - 1] * vector[i - 1] / up[i]
        square += vector[i] ** 2
    inverse = 1 / np.sqrt(square)
    for i in range(rows):
        vector[i] *= inverse
    return float(smallest * inverse)


@entry
def solve_lanes(
    matrices: Doubles,
    spare: tuple[Doubles, Doubles, Doubles, Doubles],
    values: Doubles,
    vectors: Doubles,
    sure: npt.NDArray[np.bool_],
) -> None:  # pragma: no cover
    """Find the leading eigenvalues and eigenvectors of symmetric matrices.

    Args:
        matrices: (m, m, LANES), non-negative definite; used up.
        spare: zeros: (5, m, LANES), (6, LANES), (rank, LANES), (5, m).
        values: (units, rank), to be written, the largest first.
        vectors: (units, m, rank), to be written.
        sure: (units,), to be written: whether the answer passed its check.
    """
    made, lanes, found, columns = spare
    units, rows, rank = vectors.shape
    tridiagonal(matrices, made, lanes[0])
    bisect(made[0], made[1], found, lanes)
    factor, vector = made[2], columns[2]
    for u in range(units):
        sure[u] = True
        for i in range(rows):
            columns[0, i], columns[1, i] = made[0, i, u], made[1, i, u]
        for r in range(rank):
            values[u, r] = found[r, u]
            if not twisted(columns, found[r, u]) <= ACCURATE * found[0, u]:
                sure[u] = False
            reflect_back(matrices[:, :, u], factor[:, u], vector)
            for s in range(r):
                total = 0.0
                for i in range(rows):
                    total += vector[i] * vectors[u, i, s]
                sure[u] &= abs(total) <= ORTHOGONAL
            for i in range(rows):
                vectors[u, i, r] = vector[i]


@compiled
def reflect_back(reflections: Doubles, factor: Doubles, vector: Doubles) -> None:  # pragma: no cover
    """Turn a vector of the tridiagonal matrix into one of the matrix it came from."""
    rows = len(vector)
    for k in range(rows - 2, -1, -1):
        total = 0.0
        for i in range(k + 1, rows):
            total += reflections[i, k] * vector[i]
        for i in range(k + 1, rows):
            vector[i] -= total * factor[k] * reflections[i, k]


def leading_pairs(scaled: Floats, rank: int) -> tuple[Doubles, Doubles]:
    """Eigenvalues, (units, rank), the largest first, and eigenvectors, (units, m, rank), of each unit's X X'.

    X = [relu(w), relu(-w)]; `scaled` is w, (units, m, channels), up to LANES units and sizes up to 1.
    """
    units, rows, _ = scaled.shape
    grams = np.zeros((rows, rows, LANES))
    gram_matrices(scaled, grams)
    values, vectors, sure = np.empty((units, rank)), np.empty((units, rows, rank)), np.empty(units, np.bool_)
    spare = (np.zeros((5, rows, LANES)), np.zeros((6, LANES)), np.zeros((rank, LANES)), np.zeros((5, rows)))
    solve_lanes(grams.copy(), spare, values, vectors, sure)
    for unit in np.flatnonzero(~sure):
        every_value, every_vector = np.linalg.eigh(grams[:, :, unit])
        values[unit], vectors[unit] = every_value[: -rank - 1 : -1], every_vector[:, : -rank - 1 : -1]
    return values, vectors
