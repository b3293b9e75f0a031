"""A table as the template draws it: cells written, rows told apart into figures and what was skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.atlas.cells import LEFT_ALIGNED, StripDrawing, draw_strip, json_rows, text_of
from weightatlas.atlas.chapters import encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.atlas.chapters import Chapter
    from weightatlas.plate import Column, Table

FOLD_AT: Final = 40
"""Rows that stand before a table folds; marked ones stand wherever they are."""
FILTER_FROM: Final = 13
"""Rows from which a table has a filter."""


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell: its text, where a layer's name leads, and its strip if it has one."""

    column: Column
    text: str
    link: str = ""
    strip: StripDrawing | None = None

    @property
    def left(self) -> bool:
        """Whether the cell starts at the left, as words do."""
        return self.column.form in LEFT_ALIGNED


@dataclass(frozen=True, slots=True)
class RowView:
    """One row: its place among the embedded rows, its link, its cells.

    Attributes:
        index: place in the table's rows.
        anchor: the row's own link.
        alias: the link of the row's layer, if this row is the only thing the page shows of it.
        cells: left to right.
        marked: whether the title speaks of it.
    """

    index: int
    anchor: str
    alias: str
    cells: tuple[CellView, ...]
    marked: bool


@dataclass(frozen=True, slots=True)
class TableView:
    """What the template needs of a table.

    Attributes:
        columns: left to right, without `skipped`.
        rows: those with figures.
        skipped: reasons and the names of the rows that have each.
        data: what the page's scripts sort and write as CSV.
    """

    columns: tuple[Column, ...]
    rows: tuple[RowView, ...]
    skipped: tuple[tuple[str, tuple[str, ...]], ...]
    data: dict[str, Any]

    @property
    def folds(self) -> bool:
        """Whether some rows are hidden until asked for."""
        return len(self.rows) > FOLD_AT + 5

    @property
    def filters(self) -> bool:
        """Whether the table is long enough to search."""
        return len(self.rows) >= FILTER_FROM

    @property
    def skipped_count(self) -> int:
        """How many rows have no figures."""
        return sum(len(names) for _, names in self.skipped)


def table_view(table: Table, chapter: Chapter, slides: Mapping[str, str], addressable: set[str]) -> TableView:
    """Write out a table.

    Args:
        table: what it says.
        chapter: where it stands.
        slides: layer names and the links of their slides, in this chapter.
        addressable: layers that have a link already; the first row of any other becomes what its link leads to, and
            is added here.

    Raises:
        ValueError: `marked` is neither empty nor one a row.
    """
    if table.marked and len(table.marked) != len(table.rows):
        message = f"table {table.heading.key!r} marks {len(table.marked)} rows and has {len(table.rows)}"
        raise ValueError(message)
    columns = tuple(column for column in table.columns if column.key != "skipped")
    name_key = next((column.key for column in columns if column.form == "layer"), "")
    used: dict[str, int] = {}
    rows: list[RowView] = []
    reasons: dict[str, list[str]] = {}
    for index, row in enumerate(table.rows):
        name = str(row.get(name_key) or "") if name_key else ""
        if row.get("skipped"):
            first = str(row.get(columns[0].key) or "") if columns else ""
            reasons.setdefault(str(row["skipped"]), []).append(name or first or f"row {index + 1}")
            continue
        anchor = f"{chapter.prefix}row/{encoded(table.heading.key)}/{encoded(name) if name else index}"
        used[anchor] = used.get(anchor, 0) + 1
        if used[anchor] > 1:
            anchor = f"{anchor}~{used[anchor]}"
        link = slides.get(name, anchor) if name else ""
        alias = chapter.layer_anchor(name) if name and name not in addressable else ""
        addressable.add(name)
        cells = tuple(_cell(row, column, link) for column in columns)
        rows.append(RowView(index, anchor, alias, cells, bool(table.marked and table.marked[index])))
    keys = (*(column.key for column in columns), "skipped")
    return TableView(
        columns,
        tuple(rows),
        tuple((reason, tuple(names)) for reason, names in reasons.items()),
        {**json_rows(table.rows, keys), "name": table.heading.key, "keys": [column.key for column in columns]},
    )


def _cell(row: Mapping[str, Any], column: Column, link: str) -> CellView:
    value = row.get(column.key)
    if column.form == "strip":
        return CellView(column, text_of(value, column), strip=draw_strip(value, column))
    return CellView(column, text_of(value, column), link=link if column.form == "layer" else "")
