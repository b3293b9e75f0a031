"""Non-negative matrix factorisation of all units of a layer at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weightatlas.banding.factorize import factorize_units, scale_units
from weightatlas.banding.leading_pairs import LANES, leading_pairs
from weightatlas.banding.workspace import workspace
from weightatlas.parallel import parallel_map

Floats = npt.NDArray[np.float32]

SLAB = LANES
"""Units a thread takes at a time: enough to hide the hand-over, few enough that the threads end together."""

SERIAL = 1e9
"""Multiplications below which threads cost more than they save: to hand work out and back takes some 20 ms."""


@dataclass(frozen=True, slots=True, eq=False)
class Factorization:
    """Non-negative factors of many matrices, one unit each: X of a unit is near `spatial @ channel`.

    Attributes:
        spatial: float32, (units, m, rank): W, scaled as scikit-learn leaves it.
        channel: float32, (units, rank, n): H.
        error: float64, (units,): Frobenius norm of X - WH.
        iterations: int64, (units,): sweeps made; `max_iterations` where the tolerance was not met.
    """

    spatial: Floats
    channel: Floats
    error: npt.NDArray[np.float64]
    iterations: npt.NDArray[np.int64]


def nmf(
    matrices: npt.ArrayLike,
    rank: int = 3,
    *,
    max_iterations: int = 200,
    tolerance: float = 1e-4,
    jobs: int | None = None,
) -> Factorization:
    """Factorise many small non-negative matrices, each on its own.

    For each unit's X, (m, n) and non-negative, find W (m, rank) and H (rank, n), non-negative, that make
    ||X - WH||_F small. W and H start from the leading singular vectors of X (NNDSVDa) and are updated in turn by
    cyclic coordinate descent: each entry takes its best value with all others fixed. The sweeps end when the sum of
    the projected gradients is `tolerance` of what it was in the first sweep. A zero matrix gives zero factors.

    Args:
        matrices: (units, m, n), any real dtype; computed in float32.
        rank: number of factors, at most min(m, n).
        max_iterations: sweeps at most.
        tolerance: where to stop.
        jobs: threads; None is one a core.

    Raises:
        ValueError: not three axes, a negative entry, NaN or infinity, or a rank the matrices cannot have.

    **Source:** Cichocki and Phan (2009), "Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations", with the start of Boutsidis and Gallopoulos (2008): the algorithm, order of updates and stopping
    rule of scikit-learn's `NMF(rank)` with its default settings, so the factors are the same up to rounding. We take
    the singular vectors exactly, scikit-learn by random projection.

    Example:
        >>> matrix = np.outer([1.0, 2.0, 0.0], [0.5, 0.0, 1.0, 3.0])
        >>> factors = nmf(matrix[None], rank=1)
        >>> bool(np.allclose(factors.spatial @ factors.channel, matrix, atol=1e-4))
        True
    """
    data = _finite(matrices, "matrices must be (units, m, n)")
    if data.size and data.min() < 0:
        message = "matrices must be non-negative; for signed weights use one_sided_nmf"
        raise ValueError(message)
    _, rows, columns = data.shape
    data = np.ascontiguousarray(np.swapaxes(data, 1, 2))
    return _factorize(data, (rows, columns), rank, limits=(max_iterations, tolerance), jobs=jobs)


def one_sided_nmf(
    kernels: npt.ArrayLike,
    rank: int = 3,
    *,
    max_iterations: int = 200,
    tolerance: float = 1e-4,
    jobs: int | None = None,
) -> Factorization:
    """Factorise signed kernels, each unit's positive and negative weights side by side.

    The same as `nmf` of X = [relu(w), relu(-w)], (taps, 2 channels) for each unit, without making X: positive and
    negative weights share the spatial factors, which can then be drawn as colours.

    Args:
        kernels: (units, channels, taps), signed.
        rank: number of factors, at most min(taps, 2 channels).
        max_iterations: sweeps at most.
        tolerance: where to stop.
        jobs: threads; None is one a core.

    Raises:
        ValueError: as `nmf`.

    **Source:** "Visualizing Weights" (Distill 2021), one-sided NMF.

    Example:
        >>> kernels = np.random.default_rng(0).standard_normal((4, 8, 9))
        >>> one_sided_nmf(kernels).spatial.shape
        (4, 9, 3)
    """
    data = _finite(kernels, "kernels must be (units, channels, taps)")
    _, channels, taps = data.shape
    return _factorize(data, (taps, 2 * channels), rank, limits=(max_iterations, tolerance), jobs=jobs)


def _finite(data: npt.ArrayLike, shape: str) -> Floats:
    array = np.ascontiguousarray(data, dtype=np.float32)
    if array.ndim != 3:
        message = f"{shape}, not {'x'.join(map(str, array.shape)) or 'a number'}"
        raise ValueError(message)
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        message = "NaN, infinity or a value too large for float32 cannot be factorised; remove those units first"
        raise ValueError(message)
    return array


def _factorize(
    data: Floats, shape: tuple[int, int], rank: int, *, limits: tuple[int, float], jobs: int | None
) -> Factorization:
    """Factor all units, each of matrix `shape`, a slab of units a task."""
    rows, columns = shape
    if not 1 <= rank <= min(shape):
        message = f"rank {rank} is not possible for matrices of {rows} x {columns}: take 1 to {min(shape)}"
        raise ValueError(message)
    if limits[0] < 1:
        message = f"max_iterations must be at least 1, not {limits[0]}"
        raise ValueError(message)
    units = len(data)
    made = Factorization(
        spatial=np.zeros((units, rows, rank), np.float32),
        channel=np.zeros((units, rank, columns), np.float32),
        error=np.zeros(units),
        iterations=np.zeros(units, np.int64),
    )

    def solve(start: int) -> None:
        slab = slice(start, start + SLAB)
        batch = data[slab]
        scaled, extents = np.empty((len(batch), rows, batch.shape[1]), np.float32), np.empty((len(batch), 2))
        scale_units(batch, scaled, extents)
        results = (made.spatial[slab], made.channel[slab], made.error[slab], made.iterations[slab])
        work = workspace(rows, batch.shape[1], rank)
        factorize_units((scaled, extents), leading_pairs(scaled, rank), limits, results, work)

    small = units * rows * columns * rank * limits[0] < SERIAL
    parallel_map(solve, range(0, units, SLAB), jobs=1 if small else jobs)
    return made
