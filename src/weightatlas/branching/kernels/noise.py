"""What random kernels look like: how well a Gabor, a spot or one colour fits white noise of the same size."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float64

from weightatlas.branching.kernels.colour import colour_axes
from weightatlas.branching.kernels.gabor import fit_gabors
from weightatlas.branching.kernels.spots import fit_spots

Array = np.ndarray

DRAWS: Final = 99
"""Random kernels behind the null of each fit: p-values are multiples of 1/100."""

COLOUR_DRAWS: Final = 999
"""Random kernels behind the null of colour axes, which cost nothing."""


@lru_cache(maxsize=64)
def noise_fits(channels: int, height: int, width: int) -> tuple[Float64[Array, " draws"], Float64[Array, " draws"]]:
    """Explained shares of seeded Gaussian white-noise kernels: by their best Gabor, by their best spot; ascending.

    They are fitted as a layer's kernels are, colour axis included, once for each size.
    """
    kernels = np.random.default_rng(0).standard_normal((DRAWS, channels, height, width))
    colour = colour_axes(kernels)
    gabors = np.sort(fit_gabors(colour.maps).explained * colour.shares)
    spots = np.sort(fit_spots(colour.maps).explained * colour.shares)
    gabors.flags.writeable = spots.flags.writeable = False
    return gabors, spots


@lru_cache(maxsize=64)
def noise_axes(channels: int, height: int, width: int) -> Float64[Array, " draws"]:
    """Share of their energy that the best colour axis of seeded white-noise kernels explains; ascending."""
    kernels = np.random.default_rng(0).standard_normal((COLOUR_DRAWS, channels, height, width))
    shares = np.sort(colour_axes(kernels).shares)
    shares.flags.writeable = False
    return shares


def p_values(explained: Float64[Array, " units"], null: Float64[Array, " draws"]) -> Float64[Array, " units"]:
    """Chance of explaining white noise as well: (1 + hits) / (1 + draws); NaN where nothing was fitted."""
    hits = len(null) - np.searchsorted(null, explained, side="left")
    unknown = np.isnan(explained) | np.isnan(null).any()
    return np.where(unknown, np.nan, (1 + hits) / (1 + len(null)))
