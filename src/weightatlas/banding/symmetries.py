"""Which symmetries of the square a layer's population of units breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

import numpy as np

from weightatlas.banding.flips import FLIPS, FlipTested, sign_flip_p_values
from weightatlas.banding.kernels import KernelEnergies, as_kernels, kernel_energies
from weightatlas.banding.score import SIGNIFICANT, SMALLEST, shares
from weightatlas.result import Result, Row, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt
    import numpy.typing as npt
    import torch

    from weightatlas.plate import Plate

Array = np.ndarray
Symmetry = Literal["vertical flip", "horizontal flip", "quarter turn"]
SYMMETRIES: Final[tuple[Symmetry, ...]] = get_args(Symmetry)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SymmetryTest(FlipTested):
    """One symmetry, one layer; `score` is the mean imbalance over units, -1 to 1: 0 where they have the symmetry.

    Attributes:
        symmetry: "vertical flip" (top and bottom exchanged), "horizontal flip" (left and right), "quarter turn".
    """

    symmetry: Symmetry

    @property
    def broken(self) -> bool:
        """Whether the population breaks the symmetry, taking this test for the only one."""
        return is_broken(self.score, self.p_value)


@dataclass(frozen=True, slots=True, eq=False)
class Symmetries(Result):
    """The three tests of one layer; goes through them in the order of `SYMMETRIES`.

    Attributes:
        tests: vertical flip, horizontal flip, quarter turn.
        source: what was tested, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "symmetries": ("symmetry", "score", "null_mean", "null_std", "p_value", "broken", "units", "skipped"),
    }

    tests: tuple[SymmetryTest, ...]
    source: str = "weight"

    def __iter__(self) -> Iterator[SymmetryTest]:
        """Go through the tests."""
        return iter(self.tests)

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a symmetry."""
        columns = self.columns(table)
        return [
            dict(
                zip(
                    columns,
                    (
                        test.symmetry,
                        plain(test.score),
                        0.0,
                        plain(test.null_std),
                        test.p_value,
                        test.broken,
                        test.units,
                        None,
                    ),
                    strict=True,
                )
            )
            for test in self.tests
        ]

    def chart(self) -> alt.LayerChart:
        """The three imbalances, each with the range of its null."""
        from weightatlas.banding.single_plates import symmetries_chart

        return symmetries_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The three imbalances, as they stand in an atlas."""
        from weightatlas.banding.single_plates import symmetries_plates

        return symmetries_plates(self)


def symmetries(weight: torch.Tensor | npt.ArrayLike, *, flips: int = FLIPS, seed: int = 0) -> Symmetries:
    r"""Test which symmetries of the square a layer's units break in common.

    Each symmetry has an imbalance per unit u whose sign it turns, and so a sign-flip null:

    - vertical flip: energy \(\sum k^2\) of the rows above the middle less that below it, over the whole;
    - horizontal flip: columns left of the middle less right of it, likewise;
    - quarter turn: \(b_u\), the banding score.

    The test is that of `score`: flips over units and over input channels, the larger p counts.

    Args:
        weight: (out, in, h, w), any floating dtype.
        flips: random sign patterns; up to 16 units or channels all patterns are counted.
        seed: of the patterns.

    Raises:
        ValueError: another shape, no elements, or values that are not finite.

    **Source:** ours. Alsallakh et al. (2025) measure how symmetric a kernel is, without a test; their figure is
    `kernel_symmetry`.

    Example:
        >>> import numpy as np
        >>> weight = np.random.default_rng(0).normal(size=(64, 32, 3, 3))
        >>> weight[:, :, 0] *= 2
        >>> [(test.symmetry, test.broken) for test in symmetries(weight)]
        [('vertical flip', True), ('horizontal flip', False), ('quarter turn', False)]
    """
    untested = untested_symmetries(kernel_energies(as_kernels(weight)))
    samples = [sample for test in untested for sample in (test.unit_scores, test.input_scores)]
    p_values = sign_flip_p_values(samples, flips=flips, seed=seed).reshape(-1, 2)
    return Symmetries(
        tuple(
            replace(test, p_units=float(p_units), p_inputs=float(p_inputs))
            for test, (p_units, p_inputs) in zip(untested, p_values, strict=True)
        )
    )


def untested_symmetries(energies: KernelEnergies) -> tuple[SymmetryTest, ...]:
    """Measure without a test, p = 1: a survey tests all layers at once."""
    parts = (
        (energies.above, energies.raw),
        (energies.left, energies.raw),
        (energies.rows - energies.columns, energies.total),
    )
    return tuple(
        SymmetryTest(
            symmetry=symmetry,
            unit_scores=shares(part, whole, axis=1, average="unit"),
            input_scores=shares(part, whole, axis=0, average="unit"),
        )
        for symmetry, (part, whole) in zip(SYMMETRIES, parts, strict=True)
    )


def is_broken(value: float, q_value: float) -> bool:
    """The rule of the banding score's direction, for any symmetry."""
    return q_value < SIGNIFICANT and abs(value) >= SMALLEST
