"""Units in columns as one drawing for a paper: every layer under its name, its branches side by side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from weightatlas.atlas.columns import PICTURE, across, as_slide
from weightatlas.atlas.sprites import arrange, checked, png_uri, similarity
from weightatlas.palette import ACCENT, CATEGORIES, GREY, INK, RULE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weightatlas.plate import ColumnGroup, Columns, UnitColumn

WIDTH: Final = 724
MARGIN: Final = 10
BETWEEN: Final = 14
UNIT: Final = 15
GAP: Final = 2
LINE: Final = 13
SPACE: Final = 24
TEXT: Final = 10
LETTER: Final = 5.4
"""About how many points a letter is wide."""
SCALE: Final = 2
"""Pixels a point, of the units."""


def column_drawing(columns: Columns, *, paper: str) -> str:
    """Draw all groups below each other, as SVG.

    Args:
        columns: the plate.
        paper: colour behind everything, or "none".
    """
    parts: list[str] = []
    top = MARGIN
    for group in columns.groups:
        drawn, bottom = _group(group, top)
        parts += drawn
        top = bottom + SPACE
    height = max(top - SPACE, LINE) + MARGIN
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    font = f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="{TEXT}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<rect width="100%" height="100%" fill="{paper}"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"])


def _group(group: ColumnGroup, top: int) -> tuple[list[str], int]:
    """Draw one layer from `top` on; what was drawn, and where it ends."""
    parts: list[str] = []
    bottom = top
    letters = int((WIDTH - 2 * MARGIN) / LETTER)
    facts = ", ".join([*group.facts, *([group.note] if group.note else [])])
    for text, colour in ((group.layer, INK), (facts, GREY)):
        for line in textwrap.wrap(text, letters):
            parts.append(_text(MARGIN, bottom, line, colour, bold=text is group.layer))
            bottom += LINE
    side_by_side = across(len(group.columns))
    width = (WIDTH - 2 * MARGIN - (side_by_side - 1) * BETWEEN) // side_by_side
    widest = max((column.images.shape[2] for column in group.columns if column.images.size), default=1)
    for first in range(0, len(group.columns), side_by_side):
        row_top = bottom + 6
        row = group.columns[first : first + side_by_side]
        lines = max(len(_lines(column, width)) for column in row)
        for place, column in enumerate(row):
            left = MARGIN + place * (width + BETWEEN)
            drawn, end = _column(column, group, (left, row_top, width), lines, widest)
            parts += drawn
            bottom = max(bottom, end)
    if group.marked:
        parts.append(f'<rect y="{top}" width="3" height="{bottom - top}" fill="{ACCENT}"/>')
    return parts, bottom


def _column(
    column: UnitColumn, group: ColumnGroup, place: tuple[int, int, int], lines: int, widest: int
) -> tuple[list[str], int]:
    """Draw one column at (left, top) in its width, units from `lines` lines of text on; and where it ends."""
    left, top, width = place
    colour = RULE if column.category is None else CATEGORIES[column.category % len(CATEGORIES)]
    parts = [f'<rect x="{left}" y="{top}" width="{width}" height="2" fill="{colour}"/>']
    bottom = top + 4
    for number, (line, ink) in enumerate(_lines(column, width)):
        parts.append(_text(left, bottom + number * LINE, line, ink))
    bottom += lines * LINE
    pixels = _magnified(column, group, width, widest)
    if pixels is not None:
        extent = f'width="{pixels.shape[1] / SCALE}" height="{pixels.shape[0] / SCALE}"'
        style = 'style="image-rendering:pixelated"'
        parts.append(f'<image x="{left}" y="{bottom + 2}" {extent} {style} href="{png_uri(pixels)}"/>')
        bottom += 2 + -(-pixels.shape[0] // SCALE)
    return parts, bottom


def _lines(column: UnitColumn, width: int) -> list[tuple[str, str]]:
    """A column's title, facts and note in lines that fit, with their colours."""
    letters = max(4, int(width / LETTER))
    texts = ((column.title, INK), *((text, GREY) for text in (*column.facts, column.note)))
    return [(line, ink) for text, ink in texts for line in textwrap.wrap(text, letters)]


def _magnified(column: UnitColumn, group: ColumnGroup, width: int, widest: int) -> npt.NDArray[np.uint8] | None:
    """The units of a column in order, each weight a square of whole pixels, as large as in the columns beside it."""
    layer = as_slide(group, column)
    images = checked(layer)[similarity(layer)]
    if images.size == 0:
        return None
    factor = 1 if widest >= PICTURE else max(1, round(UNIT / widest)) * SCALE
    side_by_side = max(1, min(len(images), (width + GAP) * SCALE // (images.shape[2] * factor + GAP * SCALE)))
    return arrange(images.repeat(factor, axis=1).repeat(factor, axis=2), side_by_side, gap=GAP * SCALE)


def _text(left: int, top: int, text: str, colour: str, *, bold: bool = False) -> str:
    weight = 700 if bold else 400
    return f'<text x="{left}" y="{top + TEXT}" fill="{colour}" font-weight="{weight}">{escape(text)}</text>'
