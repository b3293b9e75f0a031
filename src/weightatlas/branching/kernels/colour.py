"""The colour of kernels: how much of one is colour, along which axis, and whether a layer splits in two by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.stats import gaussian_kde

Array = np.ndarray

COLOUR: Final = 0.2
"""A unit sees colour above this chroma: there its colour differences carry a quarter of the energy of its luminance."""

_FEWEST: Final = 10  # kernel density estimates of fewer points say nothing


@dataclass(frozen=True, slots=True)
class ColourGap:
    r"""How sharply a layer splits in two at the colour threshold.

    Between `below` and `above` no unit stands: any threshold there gives the same two halves. **Null:** the layer is a
    continuum: colour angles \(\arcsin\sqrt{\text{chroma}}\) are n independent draws from a smooth density f. The
    spacing s that covers a given point a of such a sample has \(n f(a) s\) distributed as Gamma(2, 1) for large n, so
    \(p = (1 + n f s)\, e^{-n f s}\), with f a Gaussian kernel estimate (Scott's bandwidth).

    Attributes:
        below: the largest chroma that is not above the threshold; NaN where there is none.
        above: the smallest chroma above the threshold; NaN where there is none.
        p_value: chance of so wide a gap at the threshold in a continuum; NaN with fewer than ten units or where all
            lie on one side.
    """

    below: float
    above: float
    p_value: float


def chroma(kernels: Float64[Array, "units channels h w"]) -> Float64[Array, " units"]:
    r"""Share of a kernel's energy that is colour: \(\sum |F - \bar F|^2 / \sum |F|^2\), \(\bar F\) the channel mean.

    0 where all channels are equal (black and white; so for one channel), 1 where they add to zero in every pixel.
    """
    differences = kernels - kernels.mean(axis=1, keepdims=True)
    shares: Array = (differences**2).sum(axis=(1, 2, 3)) / (kernels**2).sum(axis=(1, 2, 3))
    within: Array = np.clip(shares, 0.0, 1.0)
    return within


@dataclass(frozen=True, slots=True, eq=False)
class ColourAxes:
    """The best single colour axis of each kernel: F is nearly the outer product of `axes` and `maps`.

    Attributes:
        axes: unit vectors over the channels, their sum positive (or else their largest entry).
        maps: the kernel projected onto its axis.
        shares: part of the kernel's energy that the product explains, 1 / channels to 1.
    """

    axes: Float64[Array, "units channels"]
    maps: Float64[Array, "units h w"]
    shares: Float64[Array, " units"]


def colour_axes(kernels: Float64[Array, "units channels h w"]) -> ColourAxes:
    """Project every kernel onto its leading singular vector over channels."""
    units, channels, height, width = kernels.shape
    flat = kernels.reshape(units, channels, height * width)
    _, vectors = np.linalg.eigh(flat @ flat.transpose(0, 2, 1))
    axes = vectors[:, :, -1]
    sums = axes.sum(axis=1)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)[:, 0]
    # An opponent axis adds to zero up to rounding, which must not choose its sign.
    axes = axes * np.sign(np.where(np.abs(sums) > 1e-9, sums, largest))[:, None]
    maps = np.einsum("uc,uchw->uhw", axes, kernels)
    shares = (maps**2).sum(axis=(1, 2)) / (kernels**2).sum(axis=(1, 2, 3))
    return ColourAxes(axes, maps, np.clip(shares, 0.0, 1.0))


def colour_gap(values: Float64[Array, " units"], *, threshold: float = COLOUR) -> ColourGap:
    """Measure the gap in a layer's chroma at the threshold; units with NaN are left out.

    Example:
        >>> gap = colour_gap(np.r_[np.linspace(0.01, 0.1, 20), np.linspace(0.6, 0.9, 20)])
        >>> gap.below, gap.above, gap.p_value < 0.05
        (0.1, 0.6, True)
    """
    known = values[np.isfinite(values)]
    low, high = known[known <= threshold], known[known > threshold]
    below = float(low.max()) if low.size else math.nan
    above = float(high.min()) if high.size else math.nan
    angles = np.arcsin(np.sqrt(known))
    if low.size == 0 or high.size == 0 or known.size < _FEWEST or np.ptp(angles) == 0.0:
        return ColourGap(below, above, math.nan)
    density = float(gaussian_kde(angles)(math.asin(math.sqrt(threshold)))[0])
    spacing = known.size * density * (math.asin(math.sqrt(above)) - math.asin(math.sqrt(below)))
    return ColourGap(below, above, (1 + spacing) * math.exp(-spacing))
