"""What an axis of a stored tensor is made of, in the names of groups; and where each entry of a group stands on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Factor:
    """Entries that move together, or that stay.

    Attributes:
        size: how many.
        group: the group whose permutation moves them; None where they stay.
        reason: why they stay.
    """

    size: int
    group: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        """The group's name in brackets, or the number of entries that stay."""
        return f"[{self.group}]" if self.group else str(self.size)


@dataclass(frozen=True, slots=True)
class Combined:
    """Every combination of its parts' entries, the last part running fastest: heads × width, channels × positions."""

    parts: tuple[Layout, ...]

    @property
    def size(self) -> int:
        """How many entries."""
        return int(np.prod([part.size for part in self.parts], dtype=np.int64))

    def __str__(self) -> str:
        """The parts with a cross between them."""
        return " × ".join(f"({part})" if isinstance(part, Joined) else str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Joined:
    """Its parts' entries, one part after the other: what a concatenation reads, or what is cut into pieces."""

    parts: tuple[Layout, ...]

    @property
    def size(self) -> int:
        """How many entries."""
        return sum(part.size for part in self.parts)

    def __str__(self) -> str:
        """The parts with a plus between them."""
        return " + ".join(str(part) for part in self.parts)


Layout = Factor | Combined | Joined


def factors_of(layout: Layout) -> Iterator[Factor]:
    """The factors of a layout, in order."""
    if isinstance(layout, Factor):
        yield layout
    else:
        for part in layout.parts:
            yield from factors_of(part)


def order_of(layout: Layout, permutations: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Which entry of an axis comes to stand at each place, where groups are permuted.

    Args:
        layout: of the axis.
        permutations: for groups by name, which of their entries comes to stand at each place; others stay.

    Example:
        >>> axis = Joined((Combined((Factor(2, "heads"), Factor(2))), Factor(1)))
        >>> order_of(axis, {"heads": np.array([1, 0])}).tolist()
        [2, 3, 0, 1, 4]
    """
    if isinstance(layout, Factor):
        return permutations.get(layout.group or "", np.arange(layout.size))
    orders = [order_of(part, permutations) for part in layout.parts]
    if isinstance(layout, Joined):
        starts = np.cumsum([0, *(part.size for part in layout.parts)])[:-1]
        return np.concatenate([order + start for order, start in zip(orders, starts, strict=True)])
    whole = np.zeros(1, np.int64)
    for order in orders:
        whole = (whole[:, None] * len(order) + order).reshape(-1)
    return whole


def positions_of(layout: Layout, group: str) -> NDArray[np.int64]:
    """Where the entries of a group stand on an axis.

    Returns:
        int64 (size of the group, places): row i has the places of entry i, in the same order for all entries.

    Example:
        >>> axis = Joined((Combined((Factor(2, "heads"), Factor(2))), Factor(1)))
        >>> positions_of(axis, "heads").tolist()
        [[0, 1], [2, 3]]
    """
    found = list(_places(layout, group, np.arange(layout.size)[:, None]))
    return np.concatenate(found, axis=1)


def moved_share(layout: Layout) -> float:
    """Which share of an axis' entries some group can move."""
    if isinstance(layout, Factor):
        return float(layout.group is not None)
    if isinstance(layout, Joined):
        return sum(moved_share(part) * part.size for part in layout.parts) / max(layout.size, 1)
    return 1 - float(np.prod([1 - moved_share(part) for part in layout.parts]))


def _places(layout: Layout, group: str, places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """For each factor of a group the places (entries, copies) of its entries; those of the layout are given."""
    if isinstance(layout, Factor):
        if layout.group == group:
            yield places
    elif isinstance(layout, Joined):
        start = 0
        for part in layout.parts:
            yield from _places(part, group, places[start : start + part.size])
            start += part.size
    else:
        grid = places.reshape(*(part.size for part in layout.parts), -1)
        for axis, part in enumerate(layout.parts):
            yield from _places(part, group, np.moveaxis(grid, axis, 0).reshape(part.size, -1))
