"""Where to look next for the maximum of a curve that is known at some points, and how much of it may be missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.floating[Any]]

CLOSEST: Final = 0.1
"""A new point keeps that share of its interval to either end: nearer ones teach little."""


def upper_bounds(points: Array, values: Array) -> Array:
    """The most that a curve can reach between each two neighbouring points, if it is concave around them.

    A concave curve lies below the straight lines through the two points before an interval and the two behind it,
    carried on into it; the bound is where these meet. A side on which the points themselves are convex gives no line:
    a narrow peak is bounded from its other side, or from none, and then by its ends, as a convex curve is. A curve that
    wiggles between the points is not bounded by anything.

    Args:
        points: (n,), ascending, at least three.
        values: (n,).

    Returns:
        (n - 1,).

    Example:
        >>> upper_bounds(np.array([0.0, 0.4, 0.6, 1.0]), np.array([0.0, 2.0, 2.0, 0.0])).tolist()
        [2.0, 2.5, 2.0]
    """
    slopes = np.diff(values) / np.diff(points)
    bounds = np.maximum(values[:-1], values[1:])
    for place, slope in enumerate(slopes):
        before = slopes[place - 1] if place > 0 and slopes[place - 1] >= slope else None
        behind = slopes[place + 1] if place + 1 < len(slopes) and slopes[place + 1] <= slope else None
        width = float(points[place + 1] - points[place])
        bounds[place] = max(bounds[place], _meeting(width, values[place : place + 2], before, behind))
    return bounds


def next_point(points: Array, values: Array, tolerance: float) -> float | None:
    """Where to compute the curve next, so that its maximum is known to a tolerance; None where it is.

    That is in the interval with the highest bound: at the top of the parabola through the best point and its
    neighbours, if that lies inside, else in the middle.

    Args:
        points: (n,), ascending, at least three.
        values: (n,).
        tolerance: by which the maximum may be missed.
    """
    bounds = upper_bounds(points, values)
    place = int(bounds.argmax())
    if bounds[place] - values.max() <= tolerance:
        return None
    left, right = float(points[place]), float(points[place + 1])
    best = min(max(int(values.argmax()), 1), len(points) - 2)
    top = _vertex(points[best - 1 : best + 2], values[best - 1 : best + 2])
    margin = CLOSEST * (right - left)
    if top is not None and left < top < right:
        return min(max(top, left + margin), right - margin)
    return (left + right) / 2


def _meeting(width: float, ends: Array, before: float | None, behind: float | None) -> float:
    """Highest value in an interval under the lines carried on from the sides that have one."""
    low, high = float(ends[0]), float(ends[1])
    if before is None and behind is None:
        return max(low, high)
    if before is None or behind is None:
        return low + width * before if before is not None else high - width * (behind or 0.0)
    if before == behind:
        return max(low, high)
    meeting = (high - low - behind * width) / (before - behind)
    return low + before * min(max(meeting, 0.0), width)


def _vertex(points: Array, values: Array) -> float | None:
    """Top of the parabola through three points, if it has one."""
    first, second = np.diff(values) / np.diff(points)
    bend = (second - first) / (points[2] - points[0])
    if bend >= 0:
        return None
    return float((points[0] + points[1]) / 2 - first / (2 * bend))
