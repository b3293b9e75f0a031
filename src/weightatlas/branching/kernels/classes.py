"""What kind of detector a kernel is: Gabor, colour contrast, centre-surround, or none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64

from weightatlas.branching.kernels import gabor
from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.branching.kernels.spots import PARAMETERS as SPOT_PARAMETERS

Array = np.ndarray
Class = Literal["Gabor", "colour contrast", "centre-surround", "other"]
CLASSES: Final[tuple[Class, ...]] = get_args(Class)

EXPLAINED: Final = 0.5
"""A model names a kernel where it explains at least this share of its energy: more than it leaves."""

NOISE: Final = 0.05
"""... and where white noise of the kernel's size would be named with no more than this chance."""

FEWEST_PIXELS: Final = 2 * gabor.PARAMETERS
"""A kernel of fewer pixels than twice the Gabor's eight parameters is not fitted: on 3x3 almost anything is a Gabor."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """How one model fits the kernels.

    Attributes:
        explained: share of each kernel's energy, all channels; NaN where it was not fitted.
        p_values: chance of fitting white noise as well.
        bandpass: whether the fitted pattern answers some grating more than uniform light.
    """

    explained: Float64[Array, " units"]
    p_values: Float64[Array, " units"]
    bandpass: Bool[Array, " units"]

    @property
    def admitted(self) -> Bool[Array, " units"]:
        """Where the model may name the kernel."""
        good: Array = (self.explained >= EXPLAINED) & (self.p_values <= NOISE / 2) & self.bandpass
        return good


def classify(
    chroma: Float64[Array, " units"],
    colour_p: Float64[Array, " units"],
    *,
    gabors: Candidate,
    spots: Candidate,
    pixels: int,
) -> tuple[tuple[Class, ...], Float64[Array, " units"]]:
    r"""Name each kernel, with a score from 0 to 1.

    A kernel whose chroma is above `COLOUR` (.2: colour differences carry more than a quarter of the energy that
    luminance carries) is, whatever its shape, **colour contrast** if one colour axis explains more of it than of 95 %
    of white-noise kernels of its size (a kernel of one pixel has chroma alone), else **other**. Score: the chroma.
    Whether its shape is a Gabor's is told by `Tuning.gabor`.

    The rest is black and white, and is

    1. a **Gabor** if one Gabor explains at least half of the kernel's energy, white noise of the kernel's size is
       fitted that well with a chance of 2.5 % at most, and the Gabor answers a grating more than uniform light, so that
       it has light and dark stripes. Score: the share it explains.
    2. **centre-surround** on the same terms, for a difference of two concentric Gaussians. Where both are admitted the
       smaller \(n \ln(1 - R^2) + p \ln n\) decides (the Bayesian information criterion; n pixels, p = 8 and 6).
    3. **other**: blobs without surround, noise, what was not fitted. Score: the share that no admitted pattern
       explains; NaN where none was fitted.

    So at most 5 % of white-noise kernels get a name. White noise is a lenient null for kernels that are smooth: of
    white noise blurred by one pixel two 7x7 kernels in three pass; trained Gabors of that size reach .9.

    Args:
        chroma: of each kernel.
        colour_p: chance that one colour axis explains white noise as well; NaN where there is no such test.
        gabors: how Gabors fit.
        spots: how differences of Gaussians fit.
        pixels: h times w.

    **Source:** the classes are those of Olah et al., *An Overview of Early Vision in InceptionV1* (Distill, 2020),
    conv2d0, told apart there by eye; the rules are ours.
    """
    coloured = chroma > COLOUR
    contrast = coloured & ~(colour_p > NOISE)
    gabor_wins = _criterion(gabors, gabor.PARAMETERS, pixels) <= _criterion(spots, SPOT_PARAMETERS, pixels)
    is_gabor = ~coloured & gabors.admitted & (gabor_wins | ~spots.admitted)
    is_spot = ~coloured & spots.admitted & ~is_gabor
    shares = [np.where(one.bandpass, one.explained, 0.0) for one in (gabors, spots)]
    left = np.where(np.isnan(gabors.explained), np.nan, 1.0 - np.maximum(*shares))
    kinds = [contrast, is_gabor, is_spot]
    scores: Array = np.select(kinds, [chroma, gabors.explained, spots.explained], left)
    places = np.select(kinds, [CLASSES.index(name) for name in ("colour contrast", "Gabor", "centre-surround")], 3)
    return tuple(CLASSES[place] for place in places.tolist()), scores


def _criterion(candidate: Candidate, parameters: int, pixels: int) -> Float64[Array, " units"]:
    """Bayesian information criterion of a least-squares fit; NaN where there is none."""
    left = np.maximum(1.0 - candidate.explained, 1e-12)
    criterion: Array = pixels * np.log(left) + parameters * np.log(pixels)
    return criterion
