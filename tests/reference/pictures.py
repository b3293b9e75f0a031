"""Pictures the slow, obvious way: a sum of waves, a pixel at a time."""

from __future__ import annotations

import math

import numpy as np


def waves(spectrum: np.ndarray, size: int) -> np.ndarray:
    """One channel (n, n) from half a complex spectrum (n, n // 2 + 1): the sum of its waves, over n."""
    rows, columns = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for down in range(size):
        for across in range(size // 2 + 1):
            # A wave and its mirror image; those on the axes of symmetry have none of their own.
            twice = 1 if across == 0 or 2 * across == size else 2
            phase = 2 * math.pi * (down * rows + across * columns) / size
            image += twice * (spectrum[down, across] * np.exp(1j * phase)).real
    return image / size


def moved(image: np.ndarray, matrix: np.ndarray, grey: float) -> np.ndarray:
    """One channel (n, n), resampled bilinearly at matrix (2, 3) of places from -1 to 1; grey outside."""
    size = len(image)
    result = np.empty_like(image)
    for row in range(size):
        for column in range(size):
            place = np.array([(2 * column + 1) / size - 1, (2 * row + 1) / size - 1, 1])
            x, y = ((matrix @ place + 1) * size - 1) / 2
            left, top = math.floor(x), math.floor(y)
            total = 0.0
            for j, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
                for i, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
                    inside = 0 <= i < size and 0 <= j < size
                    total += weight_x * weight_y * (image[j, i] if inside else grey)
            result[row, column] = total
    return result
