from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.pickles import tiling
from weightatlas.checkpoints.pickles.tiling import Box, tiling_fault

SIZES = st.integers(0, 4)
BOXES = st.builds(Box, st.tuples(st.integers(0, 3), st.integers(0, 3)), st.tuples(st.integers(0, 4), st.integers(0, 4)))


def count_covers(shape: tuple[int, ...], boxes: list[Box]) -> np.ndarray:
    """How many boxes hold each element: the slow, obvious way."""
    counts = np.zeros(shape, dtype=int)
    for box in boxes:
        counts[tuple(slice(start, start + size) for start, size in zip(box.offsets, box.sizes, strict=True))] += 1
    return counts


def fits(shape: tuple[int, ...], box: Box) -> bool:
    return all(start + size <= full for start, size, full in zip(box.offsets, box.sizes, shape, strict=True))


@given(st.tuples(SIZES, SIZES), st.lists(BOXES, max_size=6))
def test_boxes_tile_exactly_where_each_element_is_held_once(shape: tuple[int, int], boxes: list[Box]) -> None:
    whole = all(fits(shape, box) for box in boxes) and bool((count_covers(shape, boxes) == 1).all())
    assert (tiling_fault(shape, boxes) is None) == whole


def test_a_grid_of_parts_is_whole_in_any_order() -> None:
    boxes = [Box((3 * row, 5 * column), (3, 5)) for row, column in itertools.product(range(30), range(40))]
    assert tiling_fault((90, 200), boxes[::-1]) is None
    assert tiling_fault((90, 200), [*boxes[1:], boxes[1]]) == "two of its parts overlap"
    assert tiling_fault((90, 200), boxes[1:]) == "its parts hold 17985 of its 18000 elements"


def test_columns_are_whole() -> None:
    assert tiling_fault((4, 3000), [Box((0, column), (4, 1)) for column in range(3000)]) is None


def test_no_axes_and_no_elements() -> None:
    assert tiling_fault((), [Box((), ())]) is None
    assert tiling_fault((), [Box((), ()), Box((), ())]) == "two of its parts overlap"
    assert tiling_fault((0, 3), []) is None
    assert tiling_fault((0, 3), [Box((0, 0), (0, 3))]) is None


@pytest.mark.parametrize(
    ("box", "says"),
    [
        (Box((0,), (4,)), "other axes"),
        (Box((0, 1), (4, 2)), "outside"),
        (Box((2**62, 0), (2**62, 2)), "outside"),
        (Box((0, 0), (3, 2)), "6 of its 8"),
    ],
)
def test_what_is_no_part_of_it_is_said(box: Box, says: str) -> None:
    assert says in (tiling_fault((4, 2), [box]) or "")


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "COMPARISONS", 10)
    boxes = [Box(place, (1, 1)) for place in itertools.product(range(6), range(6))]
    assert tiling_fault((6, 6), boxes) == "it has more parts than can be checked"
