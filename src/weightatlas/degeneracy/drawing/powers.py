"""Small and large figures as a reader writes them: 10⁻⁹ and no 1e-09, which lines break at the hyphen."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from weightatlas.drawing.axes import ticks_axis

if TYPE_CHECKING:
    import altair as alt

RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SPACE: Final = "\N{NO-BREAK SPACE}"
PLAIN: Final = (-3, 6)
"""Powers of ten between which a figure is written out."""
TICKS: Final = 9
"""At most, on an axis of powers."""


def figure(value: float, digits: int = 4) -> str:
    r"""A figure in so many digits; as a multiple of a power of ten where it is very small or large.

    Example:
        >>> figure(1e-9), figure(3.2e-16, 1), figure(262.9431), figure(72382.4, 2), figure(0.0)
        ('10⁻⁹', '3\xa0×\xa010⁻¹⁶', '262.9', '72,000', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    head, _, power = f"{value:.{digits - 1}e}".partition("e")
    if PLAIN[0] <= int(power) < PLAIN[1]:
        return f"{float(f'{head}e{power}'):,.12g}"
    head = head.rstrip("0").rstrip(".") if "." in head else head
    return _power(int(power)) if head == "1" else f"{head}{SPACE}×{SPACE}{_power(int(power))}"


def powers_axis(low: float) -> alt.Axis:
    """An axis from 1 down to `low` with powers of ten as its ticks: 1, 10⁻², 10⁻⁴.

    Args:
        low: the foot of the axis, above 0 and below 1.
    """
    last = math.floor(-math.log10(low) + 1e-9)
    every = max(1, math.ceil((last + 1) / TICKS))
    powers = range(0, last + 1, every)
    texts = ["1", *(_power(-power) for power in range(1, last + 1))]
    return ticks_axis(
        [float(f"1e-{power}") for power in powers],
        labelExpr=f"{json.dumps(texts)}[-round(log(datum.value) / LN10)]",
        labelOverlap=False,
    )


def _power(exponent: int) -> str:
    return f"10{str(exponent).translate(RAISED)}"
