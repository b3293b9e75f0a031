"""Centre and surround: the difference of two concentric Gaussians, fitted to maps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from weightatlas.branching.kernels.gabor import NARROWEST
from weightatlas.branching.kernels.least_squares import best_fit, explained_shares

Array = np.ndarray

PARAMETERS: Final = 6
"""Two of position, two widths, two amplitudes."""

_RATIOS: Final = (1.25, 6.0)  # width of the surround over that of the centre
_GRATINGS: Final = np.arange(1, 33) / 64  # cycles a pixel


@dataclass(frozen=True, slots=True, eq=False)
class SpotFits:
    r"""The round spot nearest to each map, \(a\, e^{-r^2 / 2 \sigma^2} + b\, e^{-r^2 / 2 \tau^2}\), \(\tau > \sigma\).

    Attributes:
        explained: share of the map's energy that it explains (not centred), 0 to 1.
        bandpass: whether it answers some grating more than uniform light: it has a surround of the opposite sign that
            cancels enough of the centre.
    """

    explained: Float64[Array, " units"]
    bandpass: Bool[Array, " units"]


class SpotModel:
    """The model on the pixels of one kernel size; parameters x, y, log width of the centre, log ratio of widths."""

    def __init__(self, height: int, width: int) -> None:
        """Lay out the pixels, from the kernel's centre."""
        self.height, self.width, self.side = height, width, max(height, width)
        rows, columns = np.meshgrid(
            np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
        )
        self.x, self.y = columns.reshape(-1), rows.reshape(-1)

    def basis(self, parameters: Float64[Array, "n p"]) -> Float64[Array, "n 2 pixels"]:
        """Centre and surround."""
        squares = (self.x - parameters[:, :1]) ** 2 + (self.y - parameters[:, 1:2]) ** 2
        centre = np.exp(-2 * parameters[:, 2:3])
        surround = centre * np.exp(-2 * parameters[:, 3:4])
        return np.stack([np.exp(-0.5 * squares * centre), np.exp(-0.5 * squares * surround)], axis=1)

    def slopes(
        self,
        parameters: Float64[Array, "n p"],
        basis: Float64[Array, "n 2 pixels"],
        coefficients: Float64[Array, "n 2"],
    ) -> Float64[Array, "n p pixels"]:
        """Derivatives of the weighted sum."""
        right, down = self.x - parameters[:, :1], self.y - parameters[:, 1:2]
        inner = np.exp(-2 * parameters[:, 2:3]) * coefficients[:, :1] * basis[:, 0]
        outer = np.exp(-2 * (parameters[:, 2:3] + parameters[:, 3:4])) * coefficients[:, 1:] * basis[:, 1]
        squares = right**2 + down**2
        both = inner + outer
        return np.stack([right * both, down * both, squares * both, squares * outer], axis=1)

    def bounded(self, parameters: Float64[Array, "n p"]) -> Float64[Array, "n p"]:
        """Centre on the kernel, its width from .4 pixels to the kernel's, the surround 1.25 to 6 times as wide."""
        held = parameters.copy()
        held[:, 0] = np.clip(held[:, 0], -self.width / 2, self.width / 2)
        held[:, 1] = np.clip(held[:, 1], -self.height / 2, self.height / 2)
        held[:, 2] = np.clip(held[:, 2], np.log(NARROWEST), np.log(self.side))
        held[:, 3] = np.clip(held[:, 3], *np.log(_RATIOS))
        return held

    def grid(self) -> Float64[Array, "widths atoms p"]:
        """Coarse parameters to start from, by the centre's width."""
        steps = (-0.25, 0.0, 0.25)
        ratios = np.log([1.6, 3.0])
        return np.array(
            [
                [(x * self.width, y * self.height, width, ratio) for x, y, ratio in product(steps, steps, ratios)]
                for width in np.log(np.array([0.1, 0.2]) * self.side)
            ]
        )


def fit_spots(maps: Float64[Array, "units h w"]) -> SpotFits:
    """Fit one spot to each map that is not zero, from the best of a coarse grid at each of two widths."""
    units, height, width = maps.shape
    model = SpotModel(height, width)
    targets = maps.reshape(units, -1) / np.sqrt((maps**2).sum(axis=(1, 2)))[:, None]
    grid = model.grid()
    shares = explained_shares(model.basis(grid.reshape(-1, grid.shape[2])), targets).reshape(units, *grid.shape[:2])
    best = shares.argmax(axis=2)
    found = best_fit(model, targets, grid[np.arange(len(grid)), best])
    spots = np.einsum("nb,nbx->nx", found.coefficients, model.basis(found.parameters))
    # A spot is round: gratings along x from its centre stand for all.
    right = model.x - found.parameters[:, :1]
    best_grating = np.max([np.abs((spots * np.cos(2 * np.pi * k * right)).sum(axis=1)) for k in _GRATINGS], axis=0)
    return SpotFits(np.clip(1.0 - found.unexplained, 0.0, 1.0), best_grating > np.abs(spots.sum(axis=1)))
