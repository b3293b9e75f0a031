"""Flat regions round cluster centres, and names beside points where they have room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

LETTER: Final = 6.2
"""Width of a letter of a label, in pixels; its height is `LINE`."""
LINE: Final = 12.0
DOT: Final = 4.0
"""Radius that labels keep clear of a point."""


class Box(NamedTuple):
    """A rectangle: left, right, bottom, top."""

    left: float
    right: float
    bottom: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def within(self, other: Box) -> bool:
        """Whether this one lies inside the other."""
        across = self.left >= other.left and self.right <= other.right
        return across and self.bottom >= other.bottom and self.top <= other.top


def voronoi(centres: npt.ArrayLike, box: Box) -> list[npt.NDArray[np.float64]]:
    """For each centre the part of a box that is nearer to it than to any other.

    Args:
        centres: (n, 2), no two the same.
        box: what is divided.

    Returns:
        For each centre the corners of its region, (corners, 2), in order round it; regions fill the box, and one whose
        centre lies far outside may be empty.

    Example:
        >>> left, right = voronoi([[0.0, 0.0], [2.0, 0.0]], Box(-1.0, 3.0, -1.0, 1.0))
        >>> float(left[:, 0].max()), float(right[:, 0].min())
        (1.0, 1.0)
    """
    points = np.asarray(centres, dtype=np.float64)
    whole = [(box.left, box.bottom), (box.right, box.bottom), (box.right, box.top), (box.left, box.top)]
    regions = []
    for index, own in enumerate(points):
        region = np.array(whole)
        for place, other in enumerate(points):
            if place != index and len(region):
                region = _nearer(region, own, other)
        regions.append(region)
    return regions


def _nearer(
    corners: npt.NDArray[np.float64], own: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The part of a convex polygon on this side of the line half-way between two points."""
    ahead = (corners - (own + other) / 2) @ (other - own)
    kept: list[npt.NDArray[np.float64]] = []
    for index in range(len(corners)):
        following = (index + 1) % len(corners)
        if ahead[index] <= 0:
            kept.append(corners[index])
        if (ahead[index] <= 0) != (ahead[following] <= 0):
            share = ahead[index] / (ahead[index] - ahead[following])
            kept.append(corners[index] + share * (corners[following] - corners[index]))
    return np.array(kept).reshape(-1, 2)


class Label(NamedTuple):
    """Where the name of a point stands: to its right or to its left."""

    point: int
    is_right: bool


def place_labels(
    points: npt.NDArray[np.float64], texts: Sequence[str], order: Sequence[int], box: Box, *, most: int
) -> list[Label]:
    """Give names to points, in the order asked for, where they cover neither a point nor a name.

    Args:
        points: (n, 2) in pixels.
        texts: their names.
        order: points, the first to be named first.
        box: that names must stay within.
        most: names in all.

    Example:
        >>> points = np.array([[10.0, 50.0], [20.0, 50.0]])
        >>> place_labels(points, ["conv1", "conv2"], [0, 1], Box(0, 200, 0, 100), most=9)
        [Label(point=1, is_right=True)]
    """
    taken = [Box(x - DOT, x + DOT, y - DOT, y + DOT) for x, y in points.tolist()]
    labels: list[Label] = []
    for point in order:
        if len(labels) == most:
            break
        x, y = points[point].tolist()
        width = LETTER * len(texts[point])
        for is_right in (True, False):
            left = x + DOT + 2 if is_right else x - DOT - 2 - width
            room = Box(left, left + width, y - LINE / 2, y + LINE / 2)
            if room.within(box) and not any(room.meets(other) for other in taken):
                taken.append(room)
                labels.append(Label(point, is_right))
                break
    return labels
