"""Rows as a table in a terminal: figures aligned, what was skipped said once for each reason."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Form = Literal["text", "brief", "integer", "number", "signed", "probability", "share", "bytes", "shape", "flag", "tiny"]

CELL: Final = 120
REASON: Final = 400
REASONS: Final = 20
"""The longest name and reason that a table shows, and the most reasons."""

NAME: Final = 28
"""A name is folded, where there is no room, only if it is longer."""
PIPED: Final = 10_000
"""Characters of a line that no terminal bounds."""
BETWEEN: Final = 3
"""Characters between two columns."""
NAMED: Final = 3
"""Rows without figures that are named, where one reason has no more of them."""

_FORMS: Mapping[str, Form] = {
    "shape": "shape",
    "parameters": "integer",
    "bytes": "bytes",
    "unit": "integer",
    "units": "integer",
    "banded_units": "integer",
    "score": "signed",
    "slide_score": "signed",
    "type_score": "signed",
    "p_value": "probability",
    "p_units": "probability",
    "p_inputs": "probability",
    "q_value": "probability",
    "row_share": "share",
    "column_share": "share",
    "banded_units_null": "share",
    "share": "share",
    "uniform": "share",
    "banded": "flag",
    "slide_banded": "flag",
    "broken": "flag",
    "outlier": "brief",
}
"""How a field is written wherever it occurs; what is not here is written by its type."""


_LEAST: Mapping[str, tuple[float, str]] = {"probability": (0.001, "<.001"), "tiny": (0.01, "{:.2e}")}
"""The least probability that is written in three places, and how a smaller one is."""


@dataclass(frozen=True, slots=True)
class TerminalColumn:
    """A field that a table shows, and the label above it.

    Attributes:
        key: the field.
        label: what stands above it.
        accent: whether it is set in bold where the row is marked.
        form: how it is written; None is by its name, or else by the first value there is.
        empty: what stands where a row has no value.
    """

    key: str
    label: str
    accent: bool = False
    form: Form | None = None
    empty: str = ""


def terminal_table(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    *,
    shown: Sequence[TerminalColumn] | None = None,
    width: int | None = None,
) -> str:
    """Write rows as a table; rows that were skipped are counted below it, once for each reason.

    A row whose `banded` is true is set in bold. One source needs no column that names it. Where the terminal is narrow
    labels run over several lines, then text is folded between words; if that is not enough the last columns are left
    out, and named below.

    Args:
        rows: flat mappings.
        columns: the fields there are.
        shown: the fields to show with their labels; by default all but `skipped`.
        width: in characters; None is the terminal's.
    """
    if not rows:
        return ""
    named = "checkpoint" if "checkpoint" in columns else "source"
    several = len({row.get(named) for row in rows}) > 1
    visible = list(shown or [TerminalColumn(key, key.replace("_", " ")) for key in columns])
    visible = [column for column in visible if column.key not in ("skipped", named)]
    if several:
        visible.insert(min(1, len(visible)), TerminalColumn(named, "source"))
    measured = [row for row in rows if row.get("skipped") is None]
    room = _width() if width is None else width
    laid = [_laid(column, measured) for column in visible]
    kept = _kept(laid, room)
    terminal = sys.stdout.isatty() and width is None
    console = Console(width=room, force_terminal=terminal, no_color=not terminal, highlight=False)
    with console.capture() as captured:
        if measured:
            console.print(_table(kept, measured, room))
        for line in [*_left_out(laid[len(kept) :]), *_skipped(rows, visible)]:
            console.print(Text(line))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")


@dataclass(frozen=True, slots=True)
class _Laid:
    """A column with its cells written.

    Attributes:
        label: above it.
        cells: below it.
        right: whether they end at one line.
        least: characters that it needs.
        most: that it makes use of.
    """

    label: str
    cells: Sequence[str]
    right: bool
    least: int
    most: int


def _laid(column: TerminalColumn, rows: Sequence[Mapping[str, object]]) -> _Laid:
    form = column.form or form_of(column.key, rows)
    right = form not in ("text", "brief", "shape", "flag")
    cells = [written(row.get(column.key), form) or column.empty for row in rows]
    words = [word for text in (cells if not right else []) for word in text.split()]
    whole = max((cell_len(cell) for cell in cells), default=0)
    longest = whole if right else min(max((cell_len(word) for word in words), default=0), NAME)
    return _Laid(
        label=column.label,
        cells=cells,
        right=right,
        least=max(longest, *(cell_len(word) for word in column.label.split()), 1),
        most=max(whole, cell_len(column.label), 1),
    )


def _kept(columns: Sequence[_Laid], room: int) -> Sequence[_Laid]:
    """As many of the first columns as there is room for; one at least."""
    count = len(columns)
    while count > 1 and sum(column.least + BETWEEN for column in columns[:count]) > room:
        count -= 1
    return columns[:count]


def _table(columns: Sequence[_Laid], rows: Sequence[Mapping[str, object]], room: int) -> Table:
    widths = [column.least for column in columns]
    spare = room - sum(widths) - BETWEEN * len(columns)
    for place in sorted(range(len(columns)), key=lambda place: columns[place].right):  # names before figures
        more = max(0, min(spare, columns[place].most - widths[place]))
        widths[place] += more
        spare -= more
    labels = [textwrap.wrap(column.label, width) or [""] for column, width in zip(columns, widths, strict=True)]
    height = max(map(len, labels))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, width, lines in zip(columns, widths, labels, strict=True):
        header = "\n".join([""] * (height - len(lines)) + lines)
        table.add_column(Text(header), justify="right" if column.right else "left", overflow="fold", width=width)
    for place, row in enumerate(rows):
        style = "bold" if row.get("banded") is True else ""
        table.add_row(*(Text(column.cells[place]) for column in columns), style=style)
    return table


def _left_out(columns: Sequence[_Laid]) -> list[str]:
    """A line on the columns that there is no room for."""
    if not columns:
        return []
    return [f"no room for {listed([column.label for column in columns])}: a wider terminal, or --format json"]


def form_of(key: str, rows: Sequence[Mapping[str, object]]) -> Form:
    """How a field is written: by its name, or else by the first value there is."""
    if key in _FORMS:
        return _FORMS[key]
    value = next((row[key] for row in rows if row.get(key) is not None), None)
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "text"


def written(value: object, form: Form) -> str:
    """One cell.

    Example:
        >>> written(0.5694, "signed"), written(1e-5, "probability"), written([64, 3, 3, 3], "shape")
        ('+0.569', '<.001', '64×3×3×3')
        >>> written("moves like no other layer: 19 times further", "brief")
        'moves like no other layer'
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if form == "shape" and isinstance(value, list | tuple):
        return "×".join(map(str, value))
    if form == "flag":
        return "yes" if value else "no"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, form)
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    text = str(value).partition(":")[0] if form == "brief" else str(value)
    return printable(text, limit=CELL)


def _number(value: float, form: Form) -> str:
    if form == "signed":
        return f"{value:+.3f}"
    if form in _LEAST:
        least, below = _LEAST[form]
        return f"{value:.3f}".removeprefix("0") if value >= least else below.format(value)
    if form == "share":
        return f"{100 * value:.1f}%"
    if form == "bytes":
        return _bytes(value)
    if form == "integer":
        return f"{int(value):,}"
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e7 else f"{value:.3g}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    raise AssertionError  # pragma: no cover - the loop returns at GB


def _skipped(rows: Sequence[Mapping[str, object]], visible: Sequence[TerminalColumn]) -> list[str]:
    """One line for each reason, in the order of the rows; beyond the first few, one for all others."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.get("skipped") is not None:
            names.setdefault(str(row["skipped"]), []).append(_name(row, visible))
    shown = list(names.items())[:REASONS]
    lines = [f"not measured, {_which(found)}: {printable(reason, limit=REASON)}" for reason, found in shown]
    others = sum(map(len, names.values())) - sum(len(found) for _, found in shown)
    return [*lines, f"not measured, {_count(others)}: other reasons; --format json gives each"] if others else lines


def _name(row: Mapping[str, object], visible: Sequence[TerminalColumn]) -> str:
    """What a row is about: the first text in it that its table would show."""
    return next(
        (printable(value, limit=NAME) for column in visible if isinstance(value := row.get(column.key), str)), ""
    )


def _which(names: Sequence[str]) -> str:
    """A few rows by their names, many by how many they are."""
    return listed(names) if len(names) <= NAMED and all(names) else _count(len(names))


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def _width() -> int:
    """The terminal's width, or room for whatever there is where the output is piped: a program reads line by line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED
