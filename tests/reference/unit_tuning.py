"""Unit tuning as the definitions read: loops over units, channels, pixels and wave vectors; scipy for the fits."""

from __future__ import annotations

import cmath
import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

Array = npt.NDArray[np.float64]

GRID = 64


def chroma(kernel: Array) -> float:
    """Share of the energy of a kernel (channels, h, w) in differences from the channel mean."""
    channels, height, width = kernel.shape
    colour = energy = 0.0
    for y in range(height):
        for x in range(width):
            mean = sum(kernel[c, y, x] for c in range(channels)) / channels
            colour += sum((kernel[c, y, x] - mean) ** 2 for c in range(channels))
            energy += sum(kernel[c, y, x] ** 2 for c in range(channels))
    return colour / energy


def dc_share(kernel: Array) -> float:
    """Energy of the kernel's best uniform colour over its energy."""
    uniform = np.broadcast_to(kernel.mean(axis=(1, 2), keepdims=True), kernel.shape)
    return float((uniform**2).sum() / (kernel**2).sum())


def spectral_moments(kernel: Array) -> tuple[float, float, float]:
    """Orientation of the stripes (degrees), selectivity and mean frequency, over all wave vectors of the grid.

    The grid is periodic: what lies on its border stands on both sides, half on each.
    """
    _, height, width = kernel.shape
    steps = np.arange(-GRID // 2, GRID // 2 + 1)
    vertical = np.exp(-2j * np.pi * np.outer(steps / GRID, np.arange(height)))
    horizontal = np.exp(-2j * np.pi * np.outer(np.arange(width), steps / GRID))
    powers = sum(abs(vertical @ channel @ horizontal) ** 2 for channel in kernel)
    total = radius = 0.0
    direction = 0j
    for row, down in enumerate(steps.tolist()):
        for column, right in enumerate(steps.tolist()):
            power = powers[row, column]
            for step in (down, right):
                power = power / 2 if abs(step) == GRID // 2 else power
            total += power
            radius += power * math.hypot(down, right) / GRID
            if (down, right) != (0, 0):
                direction += power * cmath.exp(2j * math.atan2(-down, right))
    orientation = (math.degrees(cmath.phase(direction)) / 2 + 90) % 180
    return orientation, abs(direction) / total, radius / total


def leading_map(kernel: Array) -> tuple[Array, float]:
    """The kernel's best spatial pattern under one colour (h, w), its sign arbitrary, and the share it explains."""
    flat = kernel.reshape(len(kernel), -1)
    _, values, patterns = np.linalg.svd(flat, full_matrices=False)
    return values[0] * patterns[0].reshape(kernel.shape[1:]), float(values[0] ** 2 / (values**2).sum())


def gabor(pixels: Array, *parameters: float) -> Array:
    """A Gabor at pixels (2, n), columns rightwards and rows upwards.

    Its parameters: x, y, angle of the wave vector (radians), frequency, width, length, amplitude, phase (radians).
    """
    x, y, angle, frequency, width, length, amplitude, phase = parameters
    right, up = pixels[0] - x, pixels[1] - y
    along = math.cos(angle) * right + math.sin(angle) * up
    across = -math.sin(angle) * right + math.cos(angle) * up
    envelope = np.exp(-0.5 * ((along / width) ** 2 + (across / length) ** 2))
    value: Array = amplitude * envelope * np.cos(2 * math.pi * frequency * along + phase)
    return value


def spot(pixels: Array, *parameters: float) -> Array:
    """A difference of two concentric Gaussians: x, y, width, ratio of widths, amplitudes of centre and surround."""
    x, y, width, ratio, centre, surround = parameters
    squares = (pixels[0] - x) ** 2 + (pixels[1] - y) ** 2
    value: Array = centre * np.exp(-squares / (2 * width**2)) + surround * np.exp(-squares / (2 * (width * ratio) ** 2))
    return value


def pixel_grid(height: int, width: int) -> Array:
    """Pixels (2, h w) from the kernel's centre, y upwards."""
    return np.array(
        [(x - (width - 1) / 2, (height - 1) / 2 - y) for y in range(height) for x in range(width)], dtype=np.float64
    ).T


def gabor_kernel(
    side: int, *, angle: float, frequency: float, width: float, phase: float, length: float = 0.0
) -> Array:
    """A centred Gabor (side, side) whose stripes lie at `angle` degrees; `phase` in degrees."""
    turned, shift = math.radians(angle - 90), math.radians(phase)
    values = gabor(pixel_grid(side, side), 0, 0, turned, frequency, width, length or width, 1.0, shift)
    return values.reshape(side, side)


def spot_kernel(side: int, *, width: float, ratio: float, surround: float) -> Array:
    """A centred spot (side, side) with a surround of the opposite sign."""
    return spot(pixel_grid(side, side), 0, 0, width, ratio, 1.0, -surround).reshape(side, side)


def best_gabor(target: Array, *, angles: int = 6, frequencies: tuple[float, ...] = (0.1, 0.2, 0.3)) -> float:
    """Share of a map's energy (h, w) that one Gabor explains: curve_fit from many starts, one after another."""
    height, width = target.shape
    side = max(height, width)
    pixels, values = pixel_grid(height, width), target.reshape(-1)
    low = [-width / 2, -height / 2, -20.0, 0.25 / side, 0.4, 0.4, -np.inf, -np.inf]
    high = [width / 2, height / 2, 20.0, 0.5, 2.0 * side, 2.0 * side, np.inf, np.inf]
    best = 0.0
    for turn in range(angles):
        for frequency in frequencies:
            for phase in (0.0, math.pi / 2):
                start = [
                    0.0,
                    0.0,
                    turn * math.pi / angles,
                    frequency,
                    side / 4,
                    side / 4,
                    float(abs(values).max()),
                    phase,
                ]
                try:
                    found, _ = curve_fit(gabor, pixels, values, start, bounds=(low, high), max_nfev=100)
                except RuntimeError:  # this start has not converged in time
                    continue
                left = values - gabor(pixels, *found)
                best = max(best, 1.0 - float(left @ left) / float(values @ values))
    return best
