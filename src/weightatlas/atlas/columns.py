"""Units in columns as the template draws them: a sprite sheet a branch, all branches of a layer at one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.atlas.slides import FRONTISPIECE, FRONTISPIECE_GAP, Specimen, common_stem, slide_anchors, slide_view
from weightatlas.atlas.sprites import sample
from weightatlas.palette import CATEGORIES
from weightatlas.plate import SlideLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.atlas.chapters import Chapter, NumberedPlate
    from weightatlas.atlas.sprites import Sheet
    from weightatlas.plate import ColumnGroup, Columns, UnitColumn

ACROSS: Final = 8
"""Columns that stand side by side; more stand in several rows of about as many."""
ACROSS_NARROW: Final = 4
"""The same on a narrow screen."""
PICTURE: Final = 32
"""Pixels from which an image is a picture, which has a size of its own, and no kernel to magnify."""
KERNEL: Final = 28
"""Pixels that a kernel is about as wide as on the page, unless the reader wants it larger or smaller."""
FEW: Final = 64
KERNEL_OF_FEW: Final = 42
"""The same where no column has more than `FEW` units."""
SPECIMENS: Final = 12


@dataclass(frozen=True, slots=True)
class ColumnView:
    """One branch: its text, its sprite sheet, its colour as a custom property of the style sheet."""

    column: UnitColumn
    units: int
    sheet: Sheet
    colour: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """One layer: its text, its link, its columns, and how many of them stand side by side."""

    layer: ColumnGroup
    anchor: str
    columns: tuple[ColumnView, ...]
    across: int
    across_narrow: int
    data: dict[str, Any]

    @property
    def units(self) -> int:
        """How many units its columns hold."""
        return sum(column.units for column in self.columns)


@dataclass(frozen=True, slots=True)
class ColumnsView:
    """What the template needs of a plate of units in columns."""

    layers: tuple[GroupView, ...]
    measures: tuple[str, ...]

    @property
    def stem(self) -> str:
        """What all names begin with, up to a dot or slash."""
        return common_stem([group.layer.layer for group in self.layers])


def columns_view(plate: NumberedPlate, figure: Columns, chapter: Chapter) -> ColumnsView:
    """Draw every column's sprite sheet and write down what its units measure and are called."""
    anchors = slide_anchors(plate, [group.layer for group in figure.groups], chapter)
    groups = tuple(_group(group, anchor) for group, anchor in zip(figure.groups, anchors, strict=True))
    columns = [column for group in figure.groups for column in group.columns]
    measures = dict.fromkeys(name for column in columns for name in column.measures)
    labels = dict.fromkeys(name for column in columns for name in column.labels)
    return ColumnsView(groups, (*measures, *labels))


def branch_specimens(figure: Columns, anchors: Sequence[str]) -> list[Specimen]:
    """For the cover: a few units of each branch of the first layer that has any, spread over their order."""
    for group, anchor in zip(figure.groups, anchors, strict=True):
        drawable = [column for column in group.columns if column.images.size][:SPECIMENS]
        if not drawable:
            continue
        width, height = FRONTISPIECE
        share = (width + FRONTISPIECE_GAP) // len(drawable) - FRONTISPIECE_GAP
        return [
            Specimen(column.title, anchor, False, sample(as_slide(group, column), share, height, unit=_unit(column)))
            for column in drawable
        ]
    return []


def _group(group: ColumnGroup, anchor: str) -> GroupView:
    views, data = [], []
    for column in group.columns:
        drawn = slide_view(as_slide(group, column), anchor)
        views.append(ColumnView(column, drawn.units, drawn.sheet, _colour(column)))
        data.append(drawn.data | {"title": column.title, "numbers": _numbers(group, column), "labels": _labels(column)})
    wide, narrow = (across(len(views), most) for most in (ACROSS, ACROSS_NARROW))
    widest = max((column.images.shape[2] for column in group.columns if column.images.size), default=1)
    kernel = KERNEL_OF_FEW if all(len(column.images) <= FEW for column in group.columns) else KERNEL
    base = {"layer": group.layer, "widest": widest, "size": widest if widest >= PICTURE else kernel}
    return GroupView(group, anchor, tuple(views), wide, narrow, base | {"columns": data})


def as_slide(group: ColumnGroup, column: UnitColumn) -> SlideLayer:
    """A column as the sprites know it, its units in order of its first measure."""
    name = f"{group.layer}, {column.title}"
    order = None
    if column.measures:
        values = np.asarray(next(iter(column.measures.values())), dtype=np.float64)
        order = np.argsort(np.where(np.isfinite(values), -values, np.inf), kind="stable")
    return SlideLayer(name, column.images, measures=column.measures, order=order)


def across(columns: int, most: int = ACROSS) -> int:
    """How many columns stand side by side so that all rows are about as long.

    Example:
        >>> across(4), across(12), across(9, 4)
        (4, 6, 3)
    """
    rows = max(1, -(-columns // most))
    return max(1, -(-columns // rows))


def _unit(column: UnitColumn) -> int:
    """About how wide a unit of the cover is, in pixels that the page doubles."""
    width = int(column.images.shape[2])
    return width if width >= PICTURE else max(width, 14)


def _colour(column: UnitColumn) -> str:
    return "" if column.category is None else f"--category-{column.category % len(CATEGORIES)}"


def _numbers(group: ColumnGroup, column: UnitColumn) -> list[int]:
    if column.units is None:
        return list(range(len(column.images)))
    if np.shape(column.units) != (len(column.images),):
        message = (
            f"column {column.title!r} of layer {group.layer!r} numbers {np.size(column.units)} units "
            f"and draws {len(column.images)}"
        )
        raise ValueError(message)
    return [int(unit) for unit in column.units]


def _labels(column: UnitColumn) -> dict[str, list[str]]:
    for name, texts in column.labels.items():
        if len(texts) != len(column.images):
            message = f"column {column.title!r} has {len(texts)} labels {name!r} for {len(column.images)} units"
            raise ValueError(message)
    return {name: [str(text) for text in texts] for name, texts in column.labels.items()}
