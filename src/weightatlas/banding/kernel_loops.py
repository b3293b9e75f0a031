"""The compiled loops behind `kernel_energies`: one read of every weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Array = np.ndarray


@numba.njit(nogil=True, cache=True)
def measure_kernels(
    kernels: Array, permutations: npt.NDArray[np.int64], summaries: Array, profiles: Array
) -> None:  # pragma: no cover - compiled
    """Fill `summaries` with energies in the order of KernelEnergies, and `profiles` with sums by row and by column."""
    out, channels, height, width = kernels.shape
    size = height * width
    flat = np.empty(size)
    row_sums = np.empty(height)
    column_sums = np.empty(width)
    for unit in range(out):
        for channel in range(channels):
            kernel = kernels[unit, channel]
            row_sums[:] = 0.0
            column_sums[:] = 0.0
            total_sum = raw = above = left = 0.0
            for y in range(height):
                for x in range(width):
                    value = np.float64(kernel[y, x])
                    square = value * value
                    flat[y * width + x] = value
                    row_sums[y] += value
                    column_sums[x] += value
                    total_sum += value
                    raw += square
                    profiles[0, y] += square
                    profiles[1, x] += square
                    above += square * np.sign(height - 1 - 2 * y)
                    left += square * np.sign(width - 1 - 2 * x)
            mean = total_sum / size
            total = rows = columns = 0.0
            for index in range(size):
                total += (flat[index] - mean) ** 2
            for y in range(height):
                rows += (row_sums[y] / width - mean) ** 2
            for x in range(width):
                columns += (column_sums[x] / height - mean) ** 2
            summaries[0, unit, channel] = total
            summaries[1, unit, channel] = rows * width
            summaries[2, unit, channel] = columns * height
            summaries[3, unit, channel] = raw
            summaries[4, unit, channel] = above
            summaries[5, unit, channel] = left
            summaries[6, unit, channel] = _symmetry(flat, raw, permutations)


@numba.njit(nogil=True, cache=True)
def _symmetry(flat: Array, raw: float, permutations: npt.NDArray[np.int64]) -> float:  # pragma: no cover - compiled
    r"""S of one kernel, by \(\|T\hat K - \hat K\|^2 = 2 - 2 \langle T \hat K, \hat K \rangle\)."""
    count, size = permutations.shape
    if count == 0 or raw <= 0.0:
        return np.nan
    distance: float = 0.0
    for index in range(count):
        product = 0.0
        for place in range(size):
            product += flat[place] * flat[permutations[index, place]]
        distance += np.sqrt(max(0.0, 2.0 - 2.0 * product / raw))
    symmetry: float = 1.0 - distance / (2.0 * count)
    return symmetry
