"""What a page of the atlas is made of: findings, tables, charts, tissue slides and columns of units.

All are arrays and text. A phenomenon's `plates.py` makes them; `atlas` draws them and knows no phenomenon. Nothing here
knows torch or HTML: all text is plain text, and the page escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

Form = Literal[
    "layer",  # a module path, linked to every plate that shows that layer
    "text",
    "integer",
    "number",  # a figure, `digits` places
    "signed",  # a figure whose sign matters: always + or -
    "share",  # 0 to 1, shown as a percentage
    "probability",  # a p or q value: three places, or "< .001"
    "bytes",
    "shape",  # a sequence of integers: 64 x 3 x 7 x 7
    "strip",  # a `Strip`: a dot on an axis with the range its null gives
]


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above and below every figure.

    Attributes:
        key: names the plate in links; unique among the plates of one source.
        title: a sentence that states what was found.
        reading: how to read the figure.
        method: how it was computed.
        null: what chance alone would give, and how that was computed.
    """

    key: str
    title: str
    reading: str
    method: str
    null: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of the cover, with its figures.

    Attributes:
        statement: what was found, as a sentence.
        evidence: the figures it rests on, each a short text.
        plate: key of the plate that shows it, or empty.
        importance: orders the cover; the highest stands first.
    """

    statement: str
    evidence: tuple[str, ...] = ()
    plate: str = ""
    importance: float = 0.0


@dataclass(frozen=True, slots=True)
class Strip:
    """A figure beside its null: a dot at `value`, a grey bar from `low` to `high`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: the field of a row, named as in the command line's JSON.
        label: what stands above it.
        form: how its cells are written and aligned.
        digits: decimal places of "number", "signed" and "share".
        domain: the axis of a "strip".
        description: one sentence for the reader who hovers or listens.
    """

    key: str
    label: str
    form: Form = "text"
    digits: int = 3
    domain: tuple[float, float] = (-1.0, 1.0)
    description: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows under columns, sortable in the page.

    Attributes:
        heading: what it says and how to read it.
        columns: left to right.
        rows: one mapping a row; a missing key or None is an empty cell. A row whose `skipped` is a sentence shows that
            sentence in place of its figures, and is folded away under the table, grouped by sentence.
        marked: for each row, whether it is what the title speaks of.
    """

    heading: Heading
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    marked: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A Vega-Lite figure.

    Attributes:
        heading: what it says and how to read it.
        spec: the specification as Altair writes it, data inline and no colours or fonts of its own except those of
            `weightatlas.palette`; the page adds its theme.
        rows: the data behind it, for download and for readers who cannot see it.
    """

    heading: Heading
    spec: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SlideLayer:
    """One layer's tissue slide: a small image a unit.

    Attributes:
        layer: module path.
        images: uint8, (units, height, width, 3): three non-negative factors, each unit scaled to its own maximum.
        facts: short lines that stand under the layer's name.
        measures: float arrays of length units; the reader can sort by each.
        order: units by similarity: a permutation of range(units).
        marked: whether the layer is what the title speaks of.
        note: one sentence below the name, where something must be said (units that could not be drawn, say).
    """

    layer: str
    images: npt.NDArray[np.uint8]
    facts: tuple[str, ...] = ()
    measures: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    order: npt.NDArray[np.int64] | None = None
    marked: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Slides:
    """Tissue slides of many layers, in the order of the network."""

    heading: Heading
    layers: tuple[SlideLayer, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UnitColumn:
    """One branch of a layer, or another group of its units: a small picture a unit.

    Attributes:
        title: the branch's name.
        images: uint8, (units, height, width, 3), in true colours: kernels as RGB, or pictures of what excites a unit.
        units: int64, the number that each has in the layer; counted from 0 where it is None.
        facts: short lines that stand under the title.
        measures: float arrays, one value a unit; the reader can sort by each. They stand in order of the first,
            highest first, until the reader chooses another.
        labels: texts, one a unit, likewise: the class that each unit is of, say.
        category: the branch's colour on the charts beside it, as a place in `palette.CATEGORIES`.
        note: one sentence below the facts, where something must be said.
    """

    title: str
    images: npt.NDArray[np.uint8]
    units: npt.NDArray[np.int64] | None = None
    facts: tuple[str, ...] = ()
    measures: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    category: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnGroup:
    """One layer's units in columns, side by side at one scale.

    Attributes:
        layer: module path.
        columns: one a branch, from the left.
        facts: short texts that stand beside the layer's name.
        marked: whether the layer is what the title speaks of.
        note: one sentence below the name.
    """

    layer: str
    columns: tuple[UnitColumn, ...]
    facts: tuple[str, ...] = ()
    marked: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Units in columns, one column a branch, of one layer or several."""

    heading: Heading
    groups: tuple[ColumnGroup, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a chapter of the atlas is about.

    Attributes:
        title: the network's name, or the file's.
        facts: short texts: format, size, number of parameters and layers.
    """

    title: str
    facts: tuple[str, ...] = ()


Plate = Finding | Table | Chart | Slides | Columns | Subject
