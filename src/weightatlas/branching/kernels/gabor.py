"""Gabor functions fitted to maps: an oriented wave under a Gaussian envelope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from weightatlas.branching.kernels.least_squares import Fits, best_fit, explained_shares
from weightatlas.branching.kernels.spectrum import within

Array = np.ndarray

PARAMETERS: Final = 8
"""Two of position, orientation, frequency, two widths, amplitude, phase."""

NYQUIST: Final = 0.5
NARROWEST: Final = 0.4
"""Least width of an envelope, in pixels: below it lies on single pixels."""

_STARTS: Final = 3
_FINEST: Final = 0.42
_STEP: Final = 1.6


@dataclass(frozen=True, slots=True, eq=False)
class GaborFits:
    r"""The Gabor nearest to each map, float64 arrays (units,); NaN where a unit was not fitted.

    \[ g(x) = A \exp\!\Big(-\frac{u^2}{2 \sigma_u^2} - \frac{v^2}{2 \sigma_v^2}\Big) \cos(2 \pi f u + \varphi), \]

    u along the wave vector (which points right, or straight up) and v across it, both from the Gabor's own centre.

    Attributes:
        x: of the centre, pixels right of the kernel's.
        y: of the centre, pixels above the kernel's.
        orientation: of the stripes, degrees as in `Spectrum`.
        frequency: f, cycles a pixel.
        width: \(\sigma_u\), pixels.
        length: \(\sigma_v\), pixels.
        amplitude: A, in the units of the weight.
        phase: \(\varphi\), degrees, 0 to 360.
        explained: share of the map's energy that it explains (not centred), 0 to 1.
        bandpass: whether it answers a grating of its own frequency and orientation more than uniform light.
    """

    x: Float64[Array, " units"]
    y: Float64[Array, " units"]
    orientation: Float64[Array, " units"]
    frequency: Float64[Array, " units"]
    width: Float64[Array, " units"]
    length: Float64[Array, " units"]
    amplitude: Float64[Array, " units"]
    phase: Float64[Array, " units"]
    explained: Float64[Array, " units"]
    bandpass: Bool[Array, " units"]


class GaborModel:
    """The model on the pixels of one kernel size; parameters x, y, angle, frequency, log widths along and across."""

    def __init__(self, height: int, width: int) -> None:
        """Lay out the pixels, y upwards, from the kernel's centre."""
        self.height, self.width = height, width
        rows, columns = np.meshgrid(
            (height - 1) / 2 - np.arange(height), np.arange(width) - (width - 1) / 2, indexing="ij"
        )
        self.x, self.y = columns.reshape(-1), rows.reshape(-1)
        self.side = max(height, width)
        self.lowest = 0.25 / self.side

    def basis(self, parameters: Float64[Array, "n p"]) -> Float64[Array, "n 2 pixels"]:
        """The even and the odd Gabor."""
        along, across = self._turned(parameters)
        frequency, width, length = parameters[:, 3:4], np.exp(parameters[:, 4:5]), np.exp(parameters[:, 5:6])
        envelope = np.exp(-0.5 * ((along / width) ** 2 + (across / length) ** 2))
        waves = 2 * np.pi * frequency * along
        return np.stack([envelope * np.cos(waves), envelope * np.sin(waves)], axis=1)

    def slopes(
        self,
        parameters: Float64[Array, "n p"],
        basis: Float64[Array, "n 2 pixels"],
        coefficients: Float64[Array, "n 2"],
    ) -> Float64[Array, "n p pixels"]:
        """Derivatives of the weighted sum."""
        along, across = self._turned(parameters)
        cosine, sine = np.cos(parameters[:, 2:3]), np.sin(parameters[:, 2:3])
        frequency = parameters[:, 3:4]
        even, odd = coefficients[:, :1], coefficients[:, 1:]
        value = even * basis[:, 0] + odd * basis[:, 1]
        turned = odd * basis[:, 0] - even * basis[:, 1]
        along_scaled, across_scaled = along * np.exp(-2 * parameters[:, 4:5]), across * np.exp(-2 * parameters[:, 5:6])
        by_along = 2 * np.pi * frequency * turned - value * along_scaled
        by_across = -value * across_scaled
        return np.stack(
            [
                -cosine * by_along + sine * by_across,
                -sine * by_along - cosine * by_across,
                across * by_along - along * by_across,
                2 * np.pi * along * turned,
                value * along * along_scaled,
                value * across * across_scaled,
            ],
            axis=1,
        )

    def bounded(self, parameters: Float64[Array, "n p"]) -> Float64[Array, "n p"]:
        """Centre on the kernel, frequency up to Nyquist, widths from .4 pixels to twice the kernel."""
        held = parameters.copy()
        held[:, 0] = np.clip(held[:, 0], -self.width / 2, self.width / 2)
        held[:, 1] = np.clip(held[:, 1], -self.height / 2, self.height / 2)
        held[:, 3] = np.clip(held[:, 3], self.lowest, NYQUIST)
        held[:, 4:] = np.clip(held[:, 4:], np.log(NARROWEST), np.log(2.0 * self.side))
        return held

    def grid(self) -> Float64[Array, "frequencies atoms p"]:
        """Coarse parameters to start from, by frequency: half a cycle a kernel to nearly Nyquist, in steps of 1.6."""
        count = 1 + max(1, math.ceil(math.log(2.0 * _FINEST * self.side) / math.log(_STEP)))
        angles = np.arange(8) * np.pi / 8
        centres = list(product((-0.22 * self.width, 0.0, 0.22 * self.width), (-0.22, 0.0, 0.22)))
        atoms = []
        for frequency in np.geomspace(0.5 / self.side, _FINEST, count).tolist():
            widths = (0.16 * self.side, 0.32 * self.side, min(0.5 / frequency, 0.24 * self.side))
            atoms.append(
                [
                    (x, y * self.height, angle, frequency, math.log(width), math.log(width))
                    for (x, y), angle, width in product(centres, angles, widths)
                ]
            )
        return np.array(atoms)

    def _turned(
        self, parameters: Float64[Array, "n p"]
    ) -> tuple[Float64[Array, "n pixels"], Float64[Array, "n pixels"]]:
        cosine, sine = np.cos(parameters[:, 2:3]), np.sin(parameters[:, 2:3])
        right, up = self.x - parameters[:, :1], self.y - parameters[:, 1:2]
        return cosine * right + sine * up, cosine * up - sine * right


def fit_gabors(maps: Float64[Array, "units h w"]) -> GaborFits:
    """Fit one Gabor to each map that is not zero.

    From the best atom of a coarse grid at each frequency the three best are refined by `least_squares.fit`;
    the best of the three is kept. The phase is linear (an even and an odd part), so six of the eight parameters are
    searched.
    """
    units, height, width = maps.shape
    model = GaborModel(height, width)
    lengths = np.sqrt((maps**2).sum(axis=(1, 2)))
    targets = maps.reshape(units, -1) / lengths[:, None]
    return _described(model, best_fit(model, targets, _starts(model, targets)), lengths)


def _starts(model: GaborModel, targets: Float64[Array, "n pixels"]) -> Float64[Array, "n starts p"]:
    """The best atom of each of the frequencies that explain most."""
    grid = model.grid()
    shares, atoms = [], []
    for candidates in grid:  # one frequency at a time: all atoms of a large kernel would be many
        explained = explained_shares(model.basis(candidates), targets)
        shares.append(explained.max(axis=1))
        atoms.append(candidates[explained.argmax(axis=1)])
    order = np.argsort(-np.stack(shares, axis=1), axis=1, kind="stable")[:, :_STARTS]
    chosen: Array = np.stack(atoms, axis=1)[np.arange(len(targets))[:, None], order]
    return chosen


def _described(model: GaborModel, found: Fits, lengths: Float64[Array, " units"]) -> GaborFits:
    """Parameters in the terms of `GaborFits`: one name for each of the many that a Gabor has."""
    angles = found.parameters[:, 2] % (2 * np.pi)
    even, odd = found.coefficients.T
    # The wave vector points right or straight up; turning it about mirrors the odd part.
    backwards = (angles > np.pi / 2 + 1e-12) & (angles <= 1.5 * np.pi + 1e-12)
    phases = within(np.degrees(np.arctan2(np.where(backwards, odd, -odd), even)), 360.0)
    basis = model.basis(found.parameters)
    gabors = even[:, None] * basis[:, 0] + odd[:, None] * basis[:, 1]
    along = np.cos(angles)[:, None] * model.x + np.sin(angles)[:, None] * model.y
    waves = np.exp(-2j * np.pi * found.parameters[:, 3:4] * along)
    bandpass = np.abs((gabors * waves).sum(axis=1)) > np.abs(gabors.sum(axis=1))
    return GaborFits(
        x=found.parameters[:, 0],
        y=found.parameters[:, 1],
        orientation=within(np.degrees(angles) + 90.0, 180.0),
        frequency=found.parameters[:, 3],
        width=np.exp(found.parameters[:, 4]),
        length=np.exp(found.parameters[:, 5]),
        amplitude=np.hypot(even, odd) * lengths,
        phase=phases,
        explained=np.clip(1.0 - found.unexplained, 0.0, 1.0),
        bandpass=bandpass,
    )
