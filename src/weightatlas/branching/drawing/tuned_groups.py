"""Which tuned units stand together: a group a layer, a column a branch, or a class where a layer has no branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas import palette
from weightatlas.branching.kernels.classes import CLASSES
from weightatlas.branching.kernels.colour import COLOUR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from weightatlas.branching.survey import BranchingSurvey
    from weightatlas.branching.surveying.units import LayerUnits
    from weightatlas.branching.tuning import Tuning

    Units = npt.NDArray[np.int64]

BRANCH_COLOURS: Final = tuple(
    place for place, colour in enumerate(palette.CATEGORIES) if colour not in (palette.GREY, palette.INK)
)
"""Places of the palette's categories that branches have, in order; grey is kept for what is in none."""
NO_BRANCH: Final = "in no branch"


@dataclass(frozen=True, slots=True, eq=False)
class TunedColumn:
    """Units of one weight that stand in one column.

    Attributes:
        title: the branch, or the class.
        layer: the weight.
        tuning: of the whole weight.
        rows: which of the weight's units these are.
        units: what they are in the joined layer, where branches are joined; else the same.
        category: place of the column's colour in the palette.
    """

    title: str
    layer: LayerUnits
    tuning: Tuning
    rows: Units
    units: Units
    category: int

    @property
    def chroma(self) -> npt.NDArray[np.float64]:
        """Of its units, those that were measured."""
        values: npt.NDArray[np.float64] = self.tuning.chroma[self.rows]
        return values[np.isfinite(values)]

    @property
    def colour(self) -> int:
        """How many of its units see colour."""
        return int(np.count_nonzero(self.chroma > COLOUR))

    @property
    def kernel(self) -> str:
        """The size of its kernels, or of what they expand to."""
        _, _, height, width = self.tuning.shape
        return f"{height}×{width}"


@dataclass(frozen=True, slots=True, eq=False)
class TunedGroup:
    """One layer's tuned units.

    Attributes:
        layer: the joined layer, or the weight itself.
        by_branch: whether columns are branches; they are classes where it has none.
        columns: from the left.
    """

    layer: str
    by_branch: bool
    columns: tuple[TunedColumn, ...]

    @property
    def units(self) -> int:
        """How many there are."""
        return sum(len(column.rows) for column in self.columns)

    @property
    def colour(self) -> int:
        """How many of them see colour."""
        return sum(column.colour for column in self.columns)

    @property
    def one_size(self) -> bool:
        """Whether all kernels have one size, so that their frequencies can be compared."""
        return len({column.kernel for column in self.columns}) == 1


def tuned_groups(survey: BranchingSurvey) -> tuple[TunedGroup, ...]:
    """The tuned layers of a survey, in the order of the network; branches that are joined stand in one group."""
    together: dict[str, list[tuple[LayerUnits, Tuning]]] = {}
    for layer in survey.layers:
        if layer.tuning is not None:
            name = layer.joined if layer.names else layer.layer
            together.setdefault(name or layer.layer, []).append((layer, layer.tuning))
    return tuple(_group(survey, name, layers) for name, layers in together.items())


def unit_rows(groups: Sequence[TunedGroup]) -> list[dict[str, Any]]:
    """One row a unit: its group, its column, its class and its figures."""
    return [
        {"layer": group.layer, "panel": _panel(groups, group, column), "branch": column.title, **row}
        for group in groups
        for column in group.columns
        for row in _figures(column)
    ]


def panels(groups: Sequence[TunedGroup]) -> list[str]:
    """The names of all columns, as they stand above small multiples."""
    return [_panel(groups, group, column) for group in groups for column in group.columns]


def _group(survey: BranchingSurvey, name: str, layers: Sequence[tuple[LayerUnits, Tuning]]) -> TunedGroup:
    if not any(layer.names for layer, _ in layers):
        return TunedGroup(name, False, tuple(column for layer, tuning in layers for column in _classes(layer, tuning)))
    columns: list[TunedColumn] = []
    for layer, tuning in layers:
        for branch in dict.fromkeys(layer.names):
            rows = np.flatnonzero(np.array([other == branch for other in layer.names]))
            place = BRANCH_COLOURS[len(columns) % len(BRANCH_COLOURS)]
            category = palette.CATEGORIES.index(palette.GREY) if branch is None else place
            units = _joined_units(survey, name, layer, branch, rows)
            columns.append(TunedColumn(branch or NO_BRANCH, layer, tuning, rows, units, category))
    return TunedGroup(name, True, tuple(columns))


def _classes(layer: LayerUnits, tuning: Tuning) -> Iterator[TunedColumn]:
    for place, name in enumerate(CLASSES):
        rows = np.flatnonzero(np.array([other == name for other in tuning.classes]))
        if rows.size:
            yield TunedColumn(name, layer, tuning, rows, rows, place)


def _joined_units(survey: BranchingSurvey, name: str, layer: LayerUnits, branch: str | None, rows: Units) -> Units:
    """The numbers of a weight's rows in the layer that its branch is joined in."""
    for branching in survey.branchings:
        if branching.layer != name:
            continue
        for other in branching.branches:
            if other.name == branch and other.layer == layer.layer:
                places = dict(zip(other.rows.tolist(), other.units.tolist(), strict=True))
                return np.array([places.get(row, row) for row in rows.tolist()], dtype=np.int64)
    return rows.astype(np.int64)


def _panel(groups: Sequence[TunedGroup], group: TunedGroup, column: TunedColumn) -> str:
    return column.title if len(groups) == 1 else f"{group.layer}, {column.title}"


def _figures(column: TunedColumn) -> Iterator[dict[str, Any]]:
    tuning = column.tuning
    names = ("chroma", "frequency", "orientation", "selectivity", "gabor")
    for row, unit in zip(column.rows.tolist(), column.units.tolist(), strict=True):
        values = {name: float(getattr(tuning, name)[row]) for name in names}
        yield {
            "unit": unit,
            "class": tuning.classes[row],
            **{name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()},
        }
