"""The power spectrum of kernels: orientation, selectivity, frequency, phase, and what is uniform light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy import fft

Array = np.ndarray

PADDED: Final = 64
"""Kernels are padded with zeros to at least this side, or to four times their own: the grid of frequencies is then
finer than what a kernel can resolve, and sums over it are integrals."""

_CHUNK: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    r"""What the power spectrum of each kernel says, float64 arrays (units,).

    With \(P(k) = \sum_c |\hat F_c(k)|^2\), k the wave vector in cycles a pixel on the zero-padded grid, \(\theta\) its
    angle in the picture (y upwards):

    Attributes:
        orientation: of the stripes, degrees counter-clockwise from horizontal, 0 to 180: 0 lies, 90 stands, 45 rises
            to the right. \(\tfrac12 \arg \sum_k P e^{2i\theta} + 90\).
        selectivity: \(|\sum_k P e^{2i\theta}| / \sum_k P\), 0 (round) to 1 (one orientation only).
        frequency: \(\sum_k P |k| / \sum_k P\), in cycles a pixel: the mean, uniform light included; .38 for white
            noise. A short kernel cannot resolve a low frequency, so this is comparable among kernels of one size only.
        dc_share: share of the energy in the channels' means, \(h w \sum_c \bar F_c^2 / \sum F^2\): 1 for a uniform
            colour.
        peak_frequency: |k| where the spectrum of the kernel's map on its colour axis is largest, to 1/64 cycle.
        phase: of that wave at the kernel's centre, degrees, 0 to 360: the map is nearly
            \(\cos(2\pi k \cdot x + \phi)\), k pointing right (or straight up). 0 is a bright bar in the middle, 180 a
            dark one, 90 and 270 edges. Bright is where the map on the colour axis is positive.
    """

    orientation: Float64[Array, " units"]
    selectivity: Float64[Array, " units"]
    frequency: Float64[Array, " units"]
    dc_share: Float64[Array, " units"]
    peak_frequency: Float64[Array, " units"]
    phase: Float64[Array, " units"]


def spectrum(kernels: Float64[Array, "units channels h w"], axes: Float64[Array, "units channels"]) -> Spectrum:
    """Measure kernels that are not zero; `axes` as `colour_axes` gives them."""
    units, _, height, width = kernels.shape
    side = max(PADDED, fft.next_fast_len(4 * max(height, width), real=True))
    side += side % 2
    down, right = np.meshgrid(fft.fftfreq(side), fft.rfftfreq(side), indexing="ij")
    # Half the plane stands for the whole: what has no mirror image in it counts once, the rest twice.
    weights = np.where((right == 0.0) | (right == 0.5), 1.0, 2.0)
    doubled = weights * np.exp(2j * np.arctan2(-down, right)) * ((down != 0.0) | (right != 0.0))
    # At Nyquist a wave and its mirror image are one.
    doubled = np.where((np.abs(down) == 0.5) | (right == 0.5), doubled.real, doubled)
    radii = weights * np.hypot(down, right)
    totals, directions, sums = np.empty(units), np.empty(units, np.complex128), np.empty(units)
    peaks = np.empty((units, 2))
    for start in range(0, units, _CHUNK):
        part = slice(start, start + _CHUNK)
        waves = fft.rfft2(kernels[part], s=(side, side))
        power = (waves.real**2 + waves.imag**2).sum(axis=1)
        totals[part] = np.einsum("uyx,yx->u", power, weights)
        directions[part] = np.einsum("uyx,yx->u", power, doubled)
        sums[part] = np.einsum("uyx,yx->u", power, radii)
        mapped = np.abs(np.einsum("uc,ucyx->uyx", axes[part], waves)).reshape(len(power), -1)
        largest = mapped.argmax(axis=1)
        peaks[part] = np.stack([down.reshape(-1)[largest], right.reshape(-1)[largest]], axis=1)
    peaks[(peaks[:, 1] == 0.0) & (peaks[:, 0] > 0.0)] *= -1.0  # straight up, not down: rounding must not choose
    return Spectrum(
        orientation=within(np.degrees(np.angle(directions)) / 2 + 90.0, 180.0),
        selectivity=np.abs(directions) / totals,
        frequency=sums / totals,
        dc_share=height * width * (kernels.mean(axis=(2, 3)) ** 2).sum(axis=1) / (kernels**2).sum(axis=(1, 2, 3)),
        peak_frequency=np.hypot(*peaks.T),
        phase=_phases(np.einsum("uc,uchw->uhw", axes, kernels), peaks),
    )


def _phases(maps: Float64[Array, "units h w"], waves: Float64[Array, "units 2"]) -> Float64[Array, " units"]:
    """Phase at the centre of each map of the wave (down, right) in cycles a pixel, degrees."""
    _, height, width = maps.shape
    rows, columns = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    vertical = np.exp(-2j * np.pi * waves[:, :1] * rows)
    horizontal = np.exp(-2j * np.pi * waves[:, 1:] * columns)
    return within(np.degrees(np.angle(np.einsum("uhw,uh,uw->u", maps, vertical, horizontal))), 360.0)


def within(angles: Float64[Array, " n"], turn: float) -> Float64[Array, " n"]:
    """Angles from 0 up to, and never at, a whole turn: the remainder of a rounding error below 0 is one.

    Example:
        >>> (-1e-17 % 180.0, within(np.array([-1e-17, 190.0]), 180.0).tolist())
        (180.0, [0.0, 10.0])
    """
    rest = angles % turn
    return np.where(rest >= turn, 0.0, rest)
