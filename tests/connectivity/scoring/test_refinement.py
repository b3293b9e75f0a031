from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.connectivity.scoring.refinement import next_point, upper_bounds

DENSE = np.linspace(0, 1, 2001)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-2, 2)), min_size=1, max_size=6),
    st.sets(st.floats(0.02, 0.98), min_size=1, max_size=6),
)
def test_a_concave_curve_stays_below_the_bounds(lines: list[tuple[float, float]], inner: set[float]) -> None:
    def curve(x: np.ndarray) -> np.ndarray:  # the least of some straight lines is concave
        lowest: np.ndarray = np.min([slope * x + offset for slope, offset in lines], axis=0)
        return lowest

    points = np.array([0.0, *sorted(inner), 1.0])
    points = points[np.concatenate([[True], np.diff(points) > 1e-3])]
    if len(points) < 3:
        return
    bounds = upper_bounds(points, curve(points))
    for place, bound in enumerate(bounds):
        inside = DENSE[(points[place] <= DENSE) & (points[place + 1] >= DENSE)]
        assert (curve(inside) <= bound + 1e-9).all()


def test_a_convex_curve_is_bounded_by_its_ends() -> None:
    points = np.linspace(0, 1, 5)
    values = (points - 0.4) ** 2
    assert upper_bounds(points, values)[1:-1] == pytest.approx(np.maximum(values[:-1], values[1:])[1:-1])


@pytest.mark.parametrize("peak", [0.07, 0.31, 0.5, 0.9])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_added_points_find_the_maximum_to_the_tolerance(peak: float, tolerance: float) -> None:
    def curve(x: float) -> float:
        return math.exp(-((x - peak) ** 2) / 0.02)

    points = np.linspace(0, 1, 11).tolist()
    added = 0
    while True:
        ordered = np.sort(points)
        new = next_point(ordered, np.array([curve(x) for x in ordered]), tolerance)
        if new is None:
            break
        assert 0 < new < 1
        assert new not in points
        points.append(new)
        added += 1
        assert added < 40
    assert 1 - max(curve(x) for x in points) <= tolerance
    assert added <= (6 if tolerance > 1e-3 else 12)


def test_a_straight_line_asks_for_nothing_more() -> None:
    points = np.linspace(0, 1, 5)
    assert next_point(points, 3 - 2 * points, 1e-12) is None
