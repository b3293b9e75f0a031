"""The banding score: do a layer's kernels vary along one axis, and could that be chance?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
from jaxtyping import Float, UInt8

from weightatlas.banding.flips import FLIPS, FlipTested, mean_of_finite, sign_flip_p_values
from weightatlas.banding.kernels import KernelEnergies, as_kernels, kernel_energies, ratio
from weightatlas.result import Result, Row, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt
    import numpy.typing as npt
    import torch

    from weightatlas.plate import Plate

Array = np.ndarray
Direction = Literal["horizontal", "vertical", "none"]
Average = Literal["unit", "kernel"]

SIGNIFICANT: Final = 0.001
"""A direction is named where q is below this ..."""

SMALLEST: Final = 0.06
"""... and |B| is at least this: three times the spread of B on trained networks that cannot band."""

BANDED_RAW: Final = 0.10
"""Raw kernels are called banded from this |B| on. Our convention; `docs/banding.md` shows what moves at .05 and .20."""

BANDED_SLIDES: Final = 0.53
"""Slides are called banded from this |B| on: between the article's lowest banded (.564) and highest unbanded (.484)
layer. Read off its own 18 verdicts, so it fits them in-sample."""

NO_VARIANCE: Final = "the unit has no spatial variance"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BandingScore(FlipTested, Result):
    r"""How strongly one layer is banded, beside its null.

    `score` is B, the mean of b over units: +1 pure horizontal bands, -1 vertical, 0 neither.

    Attributes:
        unit_scores: \(b_u = R_u - C_u\), (units,); NaN for a unit without spatial variance.
        input_scores: the same with the weight's first two axes exchanged, (inputs,); empty where the channels are not
            inputs (slides).
        row_shares: \(R_u\), (units,).
        column_shares: \(C_u\), (units,).
        p_units: two-sided p of the sign flips over units.
        p_inputs: two-sided p of the sign flips over input channels; 0 where there are none.
        row_profile: each row's share of the squared weights, (h,): what a fully connected layer makes of y.
        column_profile: each column's share, (w,).
        threshold: the |B| from which on the layer is called banded.
        source: what was scored, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "units": ("unit", "score", "row_share", "column_share", "skipped"),
    }

    row_shares: Float[Array, " units"]
    column_shares: Float[Array, " units"]
    row_profile: Float[Array, " h"]
    column_profile: Float[Array, " w"]
    threshold: float
    source: str = "weight"

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a unit."""
        columns = self.columns(table)
        figures = (self.unit_scores, self.row_shares, self.column_shares)
        return [
            dict(zip(columns, (unit, *map(plain, row), None if np.isfinite(row[0]) else NO_VARIANCE), strict=True))
            for unit, row in enumerate(zip(*(values.tolist() for values in figures), strict=True))
        ]

    def chart(self) -> alt.LayerChart:
        """How the units' scores are spread, with B and the range of its null."""
        from weightatlas.banding.single_plates import score_chart

        return score_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The spread of the units' scores."""
        from weightatlas.banding.single_plates import score_plates

        return score_plates(self)

    @property
    def row_share(self) -> float:
        """Mean share of the spatial variance that lies between rows; (h - 1) / (h w - 1) in random kernels."""
        return mean_of_finite(self.row_shares)

    @property
    def column_share(self) -> float:
        """Mean share between columns."""
        return mean_of_finite(self.column_shares)

    @property
    def direction(self) -> Direction:
        """Which way the bands run, taking this layer for the only one tested."""
        return direction_of(self.score, self.p_value)

    @property
    def banded(self) -> bool:
        """Whether the layer has a direction and is strong enough to be called banded."""
        return self.direction != "none" and abs(self.score) >= self.threshold


def score(
    weight: torch.Tensor | npt.ArrayLike,
    *,
    average: Average = "unit",
    feature_map: tuple[int, int, int] | None = None,
    flips: int = FLIPS,
    seed: int = 0,
) -> BandingScore:
    r"""Score a layer's banding and test it against sign flips.

    For unit u let A be its kernels (channels, h, w), each less its spatial mean. Then

    \[ R_u = \frac{w \sum_{c,y} (\text{mean}_x A_{cyx})^2}{\sum A^2}, \qquad
       C_u = \frac{h \sum_{c,x} (\text{mean}_y A_{cyx})^2}{\sum A^2}, \qquad
       b_u = R_u - C_u, \qquad B = \text{mean}_u\, b_u, \]

    sums over all channels before the division. B runs from -1 (vertical bands) to +1 (horizontal bands) and does not
    depend on scale. With `average="kernel"` the ratio is taken for every single kernel and averaged.

    **Null.** Each unit's direction is an independent fair coin, so \(b_u\) changes sign freely and B has mean 0.
    Because units share their inputs the flips are done over input channels as well (the same formula, the weight's
    first two axes exchanged), and the larger p-value counts.

    Args:
        weight: (out, in, h, w), any floating dtype; a fully connected (out, features) with `feature_map`.
        average: "unit" as above, or "kernel".
        feature_map: (channels, h, w) of the map that a fully connected layer reads.
        flips: random sign patterns; up to 16 units or channels all patterns are counted instead.
        seed: of the patterns.

    Raises:
        ValueError: the weight has another shape, no elements, no variance, or values that are not finite.

    **Source:** the statistic is ours; Petrov et al., *Weight Banding* (Distill, 2021) judges bands by eye, and B with
    the cut of `BANDED_SLIDES` reproduces its verdicts.

    Example:
        >>> import numpy as np
        >>> from weightatlas.banding import score
        >>> bands = np.repeat(np.random.default_rng(0).normal(size=(32, 16, 3, 1)), 3, axis=3)
        >>> found = score(bands)
        >>> round(found.score, 6), found.direction
        (1.0, 'horizontal')
        >>> round(score(bands.swapaxes(2, 3)).score, 6)
        -1.0
    """
    energies = kernel_energies(as_kernels(weight, feature_map=feature_map))
    return score_from_energies(energies, average=average, flips=flips, seed=seed)


def score_slides(
    images: UInt8[Array, "units h w factors"] | npt.ArrayLike, *, flips: int = FLIPS, seed: int = 0
) -> BandingScore:
    """Score tissue slides: the factors take the channels' place.

    Only units can be flipped (a unit's factors are not another's inputs), and "banded" asks for |B| >= .53.

    Args:
        images: (units, h, w, factors), the article's RGB images or `slides(weight).factors`. A unit's scale does not
            matter.
        flips: random sign patterns.
        seed: of the patterns.

    Raises:
        ValueError: another shape, no elements, no variance, or values that are not finite.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((20, 5, 5, 3), dtype=np.uint8)
        >>> image[:, 0, :, 0] = image[:, 2, :, 1] = image[:, 4, :, 2] = 255
        >>> round(score_slides(image).score, 6)
        1.0
    """
    kernels = as_kernels(images)
    energies = kernel_energies(np.moveaxis(kernels, 3, 1))
    return score_from_energies(energies, flips=flips, seed=seed, inputs=False, threshold=BANDED_SLIDES)


def score_from_energies(
    energies: KernelEnergies,
    *,
    average: Average = "unit",
    flips: int = FLIPS,
    seed: int = 0,
    inputs: bool = True,
    threshold: float = BANDED_RAW,
) -> BandingScore:
    """Score energies that are measured already, and test."""
    untested = untested_score(energies, average=average, inputs=inputs, threshold=threshold)
    samples = [untested.unit_scores, untested.input_scores]
    p_units, p_inputs = sign_flip_p_values(samples, flips=flips, seed=seed)
    return replace(untested, p_units=float(p_units), p_inputs=float(p_inputs) if inputs else 0.0)


def untested_score(
    energies: KernelEnergies, *, average: Average = "unit", inputs: bool = True, threshold: float = BANDED_RAW
) -> BandingScore:
    """Score without a test, p = 1: a survey tests all layers at once.

    Raises:
        ValueError: no unit has spatial variance, or `average` is unknown.
    """
    row_shares = shares(energies.rows, energies.total, axis=1, average=average)
    column_shares = shares(energies.columns, energies.total, axis=1, average=average)
    if not np.isfinite(row_shares).any():
        message = "no unit has spatial variance: every kernel is zero or constant"
        raise ValueError(message)
    if inputs:
        input_scores = shares(energies.rows - energies.columns, energies.total, axis=0, average=average)
    else:
        input_scores = np.empty(0)
    mass = energies.row_profile.sum()
    return BandingScore(
        unit_scores=row_shares - column_shares,
        input_scores=input_scores,
        row_shares=row_shares,
        column_shares=column_shares,
        p_inputs=1.0 if inputs else 0.0,
        row_profile=energies.row_profile / mass,
        column_profile=energies.column_profile / mass,
        threshold=threshold,
    )


def shares(
    part: Float[Array, "out in"], whole: Float[Array, "out in"], *, axis: int, average: Average
) -> Float[Array, " pooled"]:
    """Share of an energy along `axis`: of sums ("unit"), or the mean of single kernels' shares ("kernel")."""
    if average == "unit":
        return ratio(part.sum(axis=axis), whole.sum(axis=axis))
    if average == "kernel":
        single = ratio(part, whole)
        known = np.isfinite(single)
        return ratio(np.where(known, single, 0.0).sum(axis=axis), known.sum(axis=axis).astype(np.float64))
    message = f'average must be "unit" or "kernel", not {average!r}'  # type: ignore[unreachable]
    raise ValueError(message)


def direction_of(value: float, q_value: float) -> Direction:
    """Name the direction of a score where it is significant and not negligible."""
    if not (q_value < SIGNIFICANT and abs(value) >= SMALLEST):
        return "none"
    return "horizontal" if value > 0 else "vertical"
