"""How a figure is written: one function a form of column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.plate import Strip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.plate import Column

MINUS: Final = "\N{MINUS SIGN}"
THIN: Final = "\N{NARROW NO-BREAK SPACE}"
BYTES: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
LARGE: Final = 1e6
LEFT_ALIGNED: Final = frozenset({"layer", "text", "strip", "shape"})


def plain(value: object) -> Any:  # noqa: ANN401 - JSON is what comes back
    """A value as JSON has it: numpy unwrapped, sequences as lists, strips as (value, low, high), nothing not finite.

    Example:
        >>> plain(Strip(np.float32(0.5), -1.0, math.nan))
        [0.5, -1.0, None]
    """
    if isinstance(value, Strip):
        value = (value.value, value.low, value.high)
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def text_of(value: object, column: Column) -> str:
    """Write a value in the form of its column; what is missing or not finite is an empty text.

    Example:
        >>> from weightatlas.plate import Column
        >>> text_of(-0.0237, Column("score", "B", "signed")) == f"{MINUS}0.024"
        True
        >>> text_of(0.0004, Column("q_value", "q", "probability"))
        '< .001'
        >>> text_of((), Column("shape", "kernel", "shape"))
        'scalar'
    """
    figure = plain(value)
    if column.form == "strip" and isinstance(figure, list):
        figure = figure[0]
    if figure is None:
        return ""
    if isinstance(figure, list):
        return _shape(figure) if column.form == "shape" else ", ".join(map(str, figure))
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    if isinstance(figure, int | float) and column.form in FIGURES:
        return FIGURES[column.form](figure, column.digits)
    return str(figure)


@dataclass(frozen=True, slots=True)
class StripDrawing:
    """A strip in percent of its axis: the dot, the null's bar, the rule at zero; None is not drawn.

    Attributes:
        dot: where the value lies.
        bar: left edge and width of the null.
        zero: where zero lies.
        outside: whether the value lies outside its null.
        text: the figures, for readers who cannot see it.
    """

    dot: float | None
    bar: tuple[float, float] | None
    zero: float | None
    outside: bool
    text: str


def draw_strip(value: object, column: Column) -> StripDrawing:
    """Place a strip on its axis; what lies beyond the axis is drawn at its end."""
    parts = plain(value)
    figure, low, high = parts if isinstance(parts, list) and len(parts) == 3 else (None, None, None)
    start, end = column.domain
    span = (end - start) or 1.0

    def place(number: float) -> float:
        return round(100 * min(max((number - start) / span, 0.0), 1.0), 3)

    bar = None if low is None or high is None else (place(low), round(max(place(high) - place(low), 0.0), 3))
    outside = figure is not None and low is not None and high is not None and not low <= figure <= high
    text = ""
    if figure is not None:
        text = _signed(figure, column.digits)
        if low is not None and high is not None:
            text += f"; null {_signed(low, column.digits)} to {_signed(high, column.digits)}"
    zero = place(0.0) if start <= 0.0 <= end else None
    return StripDrawing(None if figure is None else place(figure), bar, zero, outside, text)


def axis_label(number: float) -> str:
    """An end of a strip's axis, as short as it can be."""
    return _true_minus(f"{number:+g}") if number else "0"


def json_rows(rows: tuple[Mapping[str, Any], ...], first: tuple[str, ...]) -> dict[str, Any]:
    """Rows as one header and lists of values: the fields named first, then every other field that a row has.

    A strip becomes three fields.

    Example:
        >>> json_rows(({"layer": "conv1", "b": Strip(0.5, -0.1, 0.1)},), ("layer",))
        {'fields': ['layer', 'b', 'b_low', 'b_high'], 'rows': [['conv1', 0.5, -0.1, 0.1]]}
    """
    keys = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    strips = {key for row in rows for key, value in row.items() if isinstance(value, Strip)}
    fields: list[str] = []
    for key in keys:
        fields += [key, f"{key}_low", f"{key}_high"] if key in strips else [key]
    table = []
    for row in rows:
        values: list[Any] = []
        for key in keys:
            value = plain(row.get(key))
            values += (value if isinstance(value, list) else [value, None, None]) if key in strips else [value]
        table.append(values)
    return {"fields": fields, "rows": table}


def _true_minus(text: str) -> str:
    return text.replace("-", MINUS)


def _shape(sizes: list[Any]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sizes)) if sizes else "scalar"


def _integer(value: float, digits: int) -> str:
    del digits
    return _true_minus(f"{value:,.0f}").replace(",", THIN)


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    if not float(text):  # what rounds to nothing has no sign
        text = text[1:]
    return _true_minus(text)


def _number(value: float, digits: int) -> str:
    """Write plain decimals, or a power of ten where they would show nothing or run on."""
    if value and (abs(value) >= LARGE or abs(value) < 0.5 * 10**-digits):
        mantissa, exponent = f"{value:.2e}".split("e")
        return _true_minus(f"{mantissa}e{int(exponent)}")
    return _true_minus(f"{value:.{digits}f}")


def _share(value: float, digits: int) -> str:
    """Write a percentage to the precision that `digits` places of the share itself have."""
    return _true_minus(f"{100 * value:.{max(digits - 2, 0)}f}{THIN}%")


def _probability(value: float, digits: int) -> str:
    del digits
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _bytes(value: float, digits: int) -> str:
    del digits
    for unit, size in BYTES:
        if abs(value) >= size:
            return f"{value / size:.1f}{THIN}{unit}"
    return f"{value:.0f}{THIN}B"


FIGURES: Final[Mapping[str, Callable[[float, int], str]]] = {
    "bytes": _bytes,
    "integer": _integer,
    "number": _number,
    "probability": _probability,
    "share": _share,
    "signed": _signed,
    "strip": _signed,
}
"""How the numeric forms of a column are written."""
