"""Tuning curves: what units answer as one parameter of a picture turns, and where they answer most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from weightatlas.branching.kernels.spectrum import within

Array = np.ndarray
_AVERAGED: Final = ("hue", "high-low")
Shown = Mapping[str, tuple[Mapping[str, Float64[Array, " n"]], Float64[Array, "units n"]]]


@dataclass(frozen=True, slots=True, eq=False)
class TuningCurves:
    r"""Preferred parameters of each unit, float64 (units,); NaN where it answers nothing.

    A preferred angle is the direction of \(\sum_\theta (r_\theta - \min r)\, e^{i\theta}\), with \(2\theta\) for
    stripes; its selectivity is the modulus over \(\sum (r - \min r)\), 0 (all alike) to 1 (one angle only).

    Attributes:
        orientation: of the stripes, degrees, 0 to 180 (0 lies, 90 stands).
        orientation_selectivity: 0 to 1.
        frequency: of the best grating, cycles a pixel.
        hue: degrees on the isoluminant circle, 0 to 360 (0 red, 120 green, 240 blue).
        hue_selectivity: 0 to 1.
        curve_orientation: where the best arcs' centre of curvature lies, degrees, 0 to 360.
        curve_selectivity: 0 to 1.
        curvature: of the best arc, 1 / pixels.
        high_low_orientation: where the fine half lies, degrees, 0 to 360.
        high_low_selectivity: 0 to 1.
        curves: "orientation", "hue", "curve" and "high-low" to the answers at each angle, (units, angles): the best
            over phases, frequencies, radii; the mean over patterns of one hue (in stripes a hue's opposite is as
            strong) and over textures.
        angles: the same names to the angles, degrees.
    """

    orientation: Float64[Array, " units"]
    orientation_selectivity: Float64[Array, " units"]
    frequency: Float64[Array, " units"]
    hue: Float64[Array, " units"]
    hue_selectivity: Float64[Array, " units"]
    curve_orientation: Float64[Array, " units"]
    curve_selectivity: Float64[Array, " units"]
    curvature: Float64[Array, " units"]
    high_low_orientation: Float64[Array, " units"]
    high_low_selectivity: Float64[Array, " units"]
    curves: Mapping[str, Float64[Array, "units angles"]]
    angles: Mapping[str, Float64[Array, " angles"]]


def tuning_curves(shown: Shown, silent: Int64[Array, " silent"], *, colour: bool) -> TuningCurves:
    """Read the curves off what was shown and answered.

    Args:
        shown: "gratings", "coloured", "arcs" and "boundaries" to the parameters of the pictures and the answers.
        silent: units that answer every picture alike.
        colour: whether the network sees colour.
    """
    curves, angles = {}, {}
    for name, family, parameter in (
        ("orientation", "gratings", "orientation"),
        ("hue", "coloured", "hue"),
        ("curve", "arcs", "orientation"),
        ("high-low", "boundaries", "orientation"),
    ):
        parameters, answers = shown[family]
        angles[name], turned = np.unique(parameters[parameter], return_inverse=True)
        pooled = [answers[:, turned == step] for step in range(len(angles[name]))]
        curves[name] = np.stack([a.mean(axis=1) if name in _AVERAGED else a.max(axis=1) for a in pooled], axis=1)
        unknown = silent if name != "hue" or colour else np.arange(len(answers))
        curves[name][unknown] = np.nan
    preferred = {
        name: _preferred(curve, angles[name], turn=180.0 if name == "orientation" else 360.0)
        for name, curve in curves.items()
    }
    return TuningCurves(
        *preferred["orientation"],
        _at_best(shown["gratings"], "frequency", silent),
        *preferred["hue"],
        *preferred["curve"],
        _at_best(shown["arcs"], "curvature", silent),
        *preferred["high-low"],
        curves,
        angles,
    )


def _preferred(
    curve: Float64[Array, "units angles"], angles: Float64[Array, " angles"], *, turn: float
) -> tuple[Float64[Array, " units"], Float64[Array, " units"]]:
    """Preferred angle and selectivity of each curve."""
    above = curve - curve.min(axis=1, keepdims=True)
    sums = above.sum(axis=1)
    towards = above @ np.exp(2j * np.pi * angles / turn)
    flat = ~(sums > 0.0)
    selectivity = np.abs(towards) / np.where(flat, np.nan, sums)
    preferred = within(np.degrees(np.angle(towards)) * turn / 360.0, turn)
    return np.where(flat, np.nan, preferred), selectivity


def _at_best(
    family: tuple[Mapping[str, Float64[Array, " n"]], Float64[Array, "units n"]],
    parameter: str,
    silent: Int64[Array, " silent"],
) -> Float64[Array, " units"]:
    """A parameter of the picture that each unit answers most."""
    parameters, answers = family
    best: Array = parameters[parameter][answers.argmax(axis=1)]
    best[silent] = np.nan
    return best
