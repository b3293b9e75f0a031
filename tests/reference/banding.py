"""Banding as the definitions read: loops over units, channels and patterns."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def unit_score(unit: Array) -> tuple[float, float]:
    """Row share and column share of one unit's kernels (channels, h, w)."""
    total = rows = columns = 0.0
    for kernel in unit:
        height, width = kernel.shape
        centred = kernel - kernel.mean()
        total += float((centred**2).sum())
        rows += width * sum(float(centred[y].mean()) ** 2 for y in range(height))
        columns += height * sum(float(centred[:, x].mean()) ** 2 for x in range(width))
    return rows / total, columns / total


def unit_scores(weight: Array) -> Array:
    """Score of every unit of a weight (out, in, h, w)."""
    return np.array([row - column for row, column in map(unit_score, weight)])


def kernel_average_scores(weight: Array) -> Array:
    """The same, the ratio taken for every single kernel and averaged."""
    return np.array([np.mean([np.subtract(*unit_score(kernel[None])) for kernel in unit]) for unit in weight])


def exact_p_value(sample: Array) -> float:
    """Share of all sign patterns whose sum is at least as large as the observed one."""
    observed = abs(sample.sum())
    hits = [abs(np.dot(signs, sample)) >= observed - 1e-9 for signs in product((-1, 1), repeat=len(sample))]
    return float(np.mean(hits))


def kernel_symmetry(kernel: Array) -> float:
    """Alsallakh et al.'s S over the seven symmetries of the square other than the identity."""
    unit = kernel / np.linalg.norm(kernel)
    turned = [np.rot90(unit, turns) for turns in range(4)]
    moved = [*turned[1:], *(np.fliplr(turn) for turn in turned)]
    return 1 - sum(float(np.linalg.norm(image - unit)) for image in moved) / (2 * len(moved))
