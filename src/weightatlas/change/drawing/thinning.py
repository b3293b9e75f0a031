"""A run's curves with as few values as a figure can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

CELLS: Final = 6000
"""Values in one chart of the page: more make the page heavy, and no reader tells them apart."""
FEWEST: Final = 12
"""Steps that a chart keeps however many layers there are; beyond that it is layers that are put together."""
DIGITS: Final = 4
"""Significant digits of a value in a chart."""


@dataclass(frozen=True, slots=True, eq=False)
class Thinned:
    """Curves put together: neighbouring steps, and where there are very many layers, neighbouring layers.

    Attributes:
        values: (rows, columns): the median of what was put together; NaN where it has no figures.
        rows: for each row the positions of its layers.
        columns: for each column the positions of its steps.
    """

    values: npt.NDArray[np.float64]
    rows: tuple[range, ...]
    columns: tuple[range, ...]

    @property
    def steps_together(self) -> int:
        """The most steps in one column."""
        return max((len(column) for column in self.columns), default=1)

    @property
    def layers_together(self) -> int:
        """The most layers in one row."""
        return max((len(row) for row in self.rows), default=1)

    def column_of(self, step: int) -> int:
        """The column that holds the step at this position."""
        return next(place for place, column in enumerate(self.columns) if step in column)


def thinned(curves: npt.NDArray[np.float64], *, cells: int = CELLS, join_layers: bool = True) -> Thinned:
    """Put neighbouring steps together until the values are few enough, then, if they may be, neighbouring layers.

    Args:
        curves: (layers, steps); NaN where there is no figure.
        cells: the most values that come back, where `join_layers`.
        join_layers: whether layers may be put together; else `FEWEST` steps of every layer are the least.

    Example:
        >>> thin = thinned(np.arange(48.0).reshape(2, 24), cells=24)
        >>> thin.values[0, :3].tolist(), thin.values.shape, thin.steps_together
        ([0.5, 2.5, 4.5], (2, 12), 2)
    """
    layers, steps = curves.shape
    columns = pieces(steps, min(steps, max(cells // max(layers, 1), FEWEST)))
    most = cells // max(len(columns), 1) if join_layers else layers
    rows = pieces(layers, min(layers, most))
    together = curves
    if len(columns) < steps:
        together = np.stack([median(together[:, column.start : column.stop], 1) for column in columns], axis=1)
    if len(rows) < layers:
        together = np.stack([median(together[row.start : row.stop], 0) for row in rows])
    return Thinned(together, rows, columns)


def pieces(length: int, most: int) -> tuple[range, ...]:
    """Cut a length into pieces of one size, the last perhaps smaller, at most so many.

    Example:
        >>> [len(piece) for piece in pieces(10, 4)]
        [3, 3, 3, 1]
    """
    size = max(1, math.ceil(length / max(most, 1)))
    return tuple(range(start, min(start + size, length)) for start in range(0, length, size))


def median(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """The median along an axis of what is finite; NaN where nothing is."""
    kept = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(kept).any(axis=axis)
    result = np.full(known.shape, np.nan)
    if known.any():
        result[known] = np.nanmedian(np.compress(known.ravel(), kept, axis=1 - axis), axis=axis)
    return result


def short(value: float, digits: int = DIGITS) -> float | None:
    """A value with few digits, None where it is not finite: what a chart's specification holds.

    Example:
        >>> short(0.0123456), short(float("nan"))
        (0.01235, None)
    """
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def short_list(values: Sequence[float] | npt.NDArray[np.float64], digits: int = DIGITS) -> list[float | None]:
    """Every value of a sequence so."""
    return [short(float(value), digits) for value in values]
