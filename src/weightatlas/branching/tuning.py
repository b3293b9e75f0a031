"""Unit tuning: what each kernel that reads an image is a detector of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from jaxtyping import Bool, Float64

from weightatlas.branching.kernels.classes import FEWEST_PIXELS, Candidate, Class, classify
from weightatlas.branching.kernels.colour import COLOUR, ColourGap, chroma, colour_axes, colour_gap
from weightatlas.branching.kernels.gabor import GaborFits, fit_gabors
from weightatlas.branching.kernels.image_kernels import image_kernels
from weightatlas.branching.kernels.noise import noise_axes, noise_fits, p_values
from weightatlas.branching.kernels.spectrum import Spectrum, spectrum
from weightatlas.branching.kernels.spots import SpotFits, fit_spots
from weightatlas.result import Result, Row, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt
    import numpy.typing as npt
    import torch

    from weightatlas.plate import Plate

Array = np.ndarray

__all__ = ["COLOUR", "Tuning", "tuning"]

LARGEST: Final = 64
"""Kernels longer than this are not fitted: they are images."""

_FIGURES: Final = ("chroma", "orientation", "selectivity", "frequency", "phase", "dc_share", "gabor", "norm")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tuning(Result):
    """What each unit of a layer that reads an image is tuned to; float64 arrays (units,), NaN where not measured.

    Attributes:
        chroma: share of the kernel's energy that is colour, 0 to 1.
        orientation: of the stripes, degrees counter-clockwise from horizontal in the picture, 0 to 180.
        selectivity: how much one orientation prevails, 0 to 1.
        frequency: mean radial frequency, cycles a pixel, uniform light included.
        peak_frequency: where the spectrum is largest, cycles a pixel.
        phase: at that peak, at the kernel's centre, degrees, 0 to 360.
        dc_share: share of the energy in the channels' means, 0 to 1.
        gabor: share of the kernel's energy that its best Gabor explains, 0 to 1 (R squared, not centred).
        gabor_p: chance of fitting white noise of this size as well.
        gabor_null: the 95 % point of `gabor` on white noise of this size; NaN where none is fitted.
        centre_surround: the same share of the best difference of two concentric Gaussians.
        norm: Euclidean length of the kernel.
        colour_axis: the colour direction that explains most of it, unit length, (units, channels).
        fits: the Gabors.
        classes: "Gabor", "colour contrast", "centre-surround" or "other", by the rules of `classify`.
        class_score: how well that name fits, 0 to 1.
        colour_gap: whether the layer splits in two by chroma, or is a continuum.
        shape: of the weight.
        skipped: unit to the reason why it is not measured.
        notes: what could not be measured of any unit, and why.
        source: what was measured, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {"units": ("unit", "class", "class_score", *_FIGURES, "skipped")}

    chroma: Float64[Array, " units"]
    orientation: Float64[Array, " units"]
    selectivity: Float64[Array, " units"]
    frequency: Float64[Array, " units"]
    peak_frequency: Float64[Array, " units"]
    phase: Float64[Array, " units"]
    dc_share: Float64[Array, " units"]
    gabor: Float64[Array, " units"]
    gabor_p: Float64[Array, " units"]
    gabor_null: float
    centre_surround: Float64[Array, " units"]
    norm: Float64[Array, " units"]
    colour_axis: Float64[Array, "units channels"]
    fits: GaborFits
    classes: tuple[Class, ...]
    class_score: Float64[Array, " units"]
    colour_gap: ColourGap
    shape: tuple[int, ...]
    skipped: Mapping[int, str]
    notes: tuple[str, ...]
    source: str = "weight"

    @property
    def colour(self) -> Bool[Array, " units"]:
        """Which units see colour: chroma above `COLOUR`."""
        seen: Array = self.chroma > COLOUR
        return seen

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a unit."""
        columns = self.columns(table)
        figures = [getattr(self, name).tolist() for name in ("class_score", *_FIGURES)]
        return [
            dict(zip(columns, (unit, name, *map(plain, row), self.skipped.get(unit)), strict=True))
            for unit, (name, *row) in enumerate(zip(self.classes, *figures, strict=True))
        ]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The figures of every unit, the names of its class, and the Gabors."""
        named = {name: getattr(self, name) for name in ("class_score", *_FIGURES, "centre_surround", "colour_axis")}
        fitted = {f"gabor_{field.name}": getattr(self.fits, field.name) for field in fields(self.fits)}
        return named | fitted | {"classes": np.array(self.classes, dtype=np.str_)}

    def chart(self) -> alt.LayerChart:
        """Chroma against frequency, a dot a unit."""
        from weightatlas.branching.drawing.tuning_plates import tuning_scatter

        return tuning_scatter(self)

    def plates(self) -> Sequence[Plate]:
        """The same, as it stands in an atlas."""
        from weightatlas.branching.drawing.tuning_plates import tuning_plates

        return tuning_plates(self)


def tuning(weight: torch.Tensor | npt.ArrayLike, *, source: str = "weight") -> Tuning:
    r"""Measure what each kernel of a layer that reads an image is tuned to.

    Colour: chroma \(\sum |F - \bar F|^2 / \sum |F|^2\), \(\bar F\) the channel mean. Space: moments of the zero-padded
    power spectrum, summed over channels (`spectrum.Spectrum`). Shape: kernels are projected on their own best colour
    axis, so that a red-green Gabor is a Gabor too, and the map is fitted with one Gabor and with one difference of
    concentric Gaussians; the shares they explain are of the whole kernel's energy, so that what the axis misses counts
    against them. Classes follow from these by the rules of `classes.classify`.

    **Null.** A Gabor has eight parameters: `gabor` of 99 seeded white-noise kernels of the same size and channels,
    fitted in the same way, says how much of it is chance (`gabor_p`, `gabor_null`).

    Scale and sign of a kernel change nothing but `norm`, `phase` (by 180) and the Gabor's amplitude.

    Args:
        weight: (units, channels, h, w), 1 or 3 channels, any real dtype; computed in float64. A unit that is zero, one
            constant, or not finite is skipped with its reason.
        source: what was measured, for the atlas.

    Returns:
        Kernels with a side of 1 have chroma, norm and class only; kernels of fewer than 16 pixels (3x3) no Gabor and no
        centre-surround: 9 numbers cannot test a model of 8 parameters. `notes` says so.

    Raises:
        ValueError: another shape, no elements, other than 1 or 3 channels, or numbers that are not real.

    **Source:** chroma and the moments of the spectrum are ours; Gabor functions: Jones and Palmer (1987). Classes:
    Olah et al., *An Overview of Early Vision in InceptionV1* (Distill, 2020).

    Example:
        >>> x = np.arange(7) - 3
        >>> rising = (x[:, None] + x) / np.sqrt(2)
        >>> stripes = np.cos(2 * np.pi * rising / 4) * np.exp(-(x**2 + x[:, None] ** 2) / 8)
        >>> found = tuning(np.stack([stripes, stripes[::-1]])[:, None])
        >>> found.classes, found.orientation.round(6).tolist(), found.fits.frequency.round(4).tolist()
        (('Gabor', 'Gabor'), [45.0, 135.0], [0.25, 0.25])
    """
    read = image_kernels(weight)
    units, channels, height, width = read.kernels.shape
    kept = read.measured
    kernels = read.kernels[kept]
    colours, colour = chroma(kernels), colour_axes(kernels)
    waves = _no_spectrum(len(kept)) if min(height, width) == 1 else spectrum(kernels, colour.axes)
    fitted = _is_fitted(height, width)
    gabors, spots = (fit_gabors(colour.maps), fit_spots(colour.maps)) if fitted and kept.size else _no_fits(len(kept))
    nulls = noise_fits(channels, height, width) if fitted else (np.full(1, np.nan), np.full(1, np.nan))
    as_gabor = _candidate(gabors.explained * colour.shares, nulls[0], gabors.bandpass)
    as_spot = _candidate(spots.explained * colour.shares, nulls[1], spots.bandpass)
    colour_p = p_values(colour.shares, _axes_null(channels, height, width))
    names, scores = classify(colours, colour_p, gabors=as_gabor, spots=as_spot, pixels=height * width)
    named = dict(zip(kept.tolist(), names, strict=True))
    spread = _Spread(kept, units)
    every_chroma = spread(colours)
    return Tuning(
        chroma=every_chroma,
        **{field.name: spread(getattr(waves, field.name)) for field in fields(waves)},
        gabor=spread(as_gabor.explained),
        gabor_p=spread(as_gabor.p_values),
        gabor_null=float(np.quantile(nulls[0], 0.95)),
        centre_surround=spread(as_spot.explained),
        norm=spread(np.sqrt((kernels**2).sum(axis=(1, 2, 3))) * read.scales[kept]),
        colour_axis=spread(colour.axes),
        fits=_spread_fits(gabors, spread, read.scales[kept]),
        classes=tuple(named.get(unit, "other") for unit in range(units)),
        class_score=spread(scores),
        colour_gap=colour_gap(every_chroma),
        shape=(units, channels, height, width),
        skipped=read.skipped,
        notes=_notes(height, width),
        source=source,
    )


@dataclass(frozen=True, slots=True)
class _Spread:
    """Puts figures of the measured units in their places among all."""

    kept: npt.NDArray[np.int64]
    units: int

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        everywhere = np.full((self.units, *values.shape[1:]), np.nan)
        everywhere[self.kept] = values
        return everywhere


def _is_fitted(height: int, width: int) -> bool:
    """Whether kernels of this size are fitted with Gabors and spots."""
    return min(height, width) > 1 and height * width >= FEWEST_PIXELS and max(height, width) <= LARGEST


def _axes_null(channels: int, height: int, width: int) -> npt.NDArray[np.float64]:
    """Null of the colour axis; one pixel lies on one axis always, and has none."""
    return np.full(1, np.nan) if height * width == 1 else noise_axes(channels, height, width)


def _candidate(
    explained: npt.NDArray[np.float64], null: npt.NDArray[np.float64], bandpass: npt.NDArray[np.bool_]
) -> Candidate:
    return Candidate(explained, p_values(explained, null), bandpass)


def _no_spectrum(units: int) -> Spectrum:
    return Spectrum(*(np.full(units, np.nan) for _ in fields(Spectrum)))


def _no_fits(units: int) -> tuple[GaborFits, SpotFits]:
    unknown = np.full(units, np.nan)
    nowhere = np.zeros(units, dtype=bool)
    gabors = {field.name: nowhere if field.name == "bandpass" else unknown for field in fields(GaborFits)}
    return GaborFits(**gabors), SpotFits(unknown, nowhere)


def _spread_fits(found: GaborFits, spread: _Spread, scales: npt.NDArray[np.float64]) -> GaborFits:
    named = {field.name: spread(getattr(found, field.name)) for field in fields(found)}
    named["amplitude"] = spread(found.amplitude * scales)
    named["bandpass"] = np.nan_to_num(named["bandpass"]).astype(bool)
    return GaborFits(**named)


def _notes(height: int, width: int) -> tuple[str, ...]:
    """What kernels of this size do not tell."""
    note = None
    if min(height, width) == 1:
        note = f"kernels of {height}x{width} have no two dimensions: colour is measured, space is not"
    elif height * width < FEWEST_PIXELS:
        note = (
            f"kernels of {height}x{width} have {height * width} pixels: too few to test a Gabor of 8 parameters, so no "
            "unit is called a Gabor or centre-surround"
        )
    elif max(height, width) > LARGEST:
        note = f"kernels of {height}x{width} are images: Gabors are fitted up to {LARGEST} pixels a side"
    elif height != width:
        note = (
            f"kernels of {height}x{width} resolve one direction better than the other: orientation and selectivity "
            "lean to it"
        )
    return () if note is None else (note,)
