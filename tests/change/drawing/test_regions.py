from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.change.drawing.regions import DOT, LETTER, LINE, Box, place_labels, voronoi

BOX = Box(-2.0, 2.0, -1.0, 3.0)


def area(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2) if len(corners) else 0.0


def inside(corners: np.ndarray, point: np.ndarray) -> bool:
    edges = np.roll(corners, -1, axis=0) - corners
    sides = edges[:, 0] * (point - corners)[:, 1] - edges[:, 1] * (point - corners)[:, 0]
    return bool((sides >= -1e-9).all() or (sides <= 1e-9).all())


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_regions_fill_the_box_and_hold_what_is_nearest(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    centres = generator.uniform((-2, -1), (2, 3), (count, 2))
    regions = voronoi(centres, BOX)
    assert np.isclose(sum(map(area, regions)), 16.0)
    for point in generator.uniform((-2, -1), (2, 3), (20, 2)):
        nearest = int(np.argmin(np.linalg.norm(centres - point, axis=1)))
        assert inside(regions[nearest], point)


def test_a_centre_far_outside_may_have_no_region() -> None:
    near, far = voronoi([[0.0, 0.0], [90.0, 0.0]], BOX)
    assert area(near) == 16.0
    assert len(far) == 0


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_names_cover_neither_points_nor_names(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 300, (25, 2))
    texts = [f"layer{place}" for place in range(25)]
    box = Box(0, 300, 0, 300)
    boxes = []
    for label in place_labels(points, texts, range(25), box, most=25):
        x, y = points[label.point]
        width = LETTER * len(texts[label.point])
        left = x + DOT + 2 if label.is_right else x - DOT - 2 - width
        boxes.append(Box(left, left + width, y - LINE / 2, y + LINE / 2))
    dots = [Box(x - DOT, x + DOT, y - DOT, y + DOT) for x, y in points]
    assert all(own.within(box) and not any(own.meets(dot) for dot in dots) for own in boxes)
    assert not any(own.meets(other) for place, own in enumerate(boxes) for other in boxes[:place])


def test_the_first_asked_for_is_named_first_and_no_more_than_wanted() -> None:
    points = np.array([[100.0, 50.0], [100.0, 52.0]])
    (label,) = place_labels(points, ["a", "b"], [1, 0], Box(0, 300, 0, 100), most=1)
    assert label.point == 1
