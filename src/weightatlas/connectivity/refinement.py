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
    carried on into it; the bound is where these meet, and no less than the values at both ends. A curve that is convex
    in an interval stays below its ends there. One that wiggles between the points is not bounded by anything.

    Args:
        points: (n,), ascending, at least three.
        values: (n,).

    Returns:
        (n - 1,).

    Example:
        >>> upper_bounds(np.array([0.0, 0.4, 0.6, 1.0]), np.array([0.0, 2.0, 2.0, 0.0])).tolist()
        [2.0, 2.5, 2.0]
    """
    bounds = np.maximum(values[:-1], values[1:])
    slopes = np.diff(values) / np.diff(points)
    for place in range(len(bounds)):
        left, right = points[place], points[place + 1]
        before = slopes[place - 1] if place > 0 else None
        behind = slopes[place + 1] if place + 1 < len(bounds) else None
        bounds[place] = max(bounds[place], _meeting(right - left, values[place : place + 2], before, behind))
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
    """Highest value in an interval under the lines carried on from both sides."""
    low, high = float(ends[0]), float(ends[1])
    if before is None or behind is None:
        reached = low + width * before if before is not None else low
        return max(reached, high - width * behind if behind is not None else high)
    if before <= behind:  # they do not meet inside: convex around it
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
