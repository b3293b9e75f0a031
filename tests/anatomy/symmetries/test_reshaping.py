from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.anatomy.symmetries.reshaping import MIXED, reshaped
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Segments, leaves_of, resolved, size_of


def sizes_of(axis: object) -> list[int]:
    return [leaf.size for leaf in leaves_of(axis)]  # type: ignore[arg-type]


def test_a_boundary_inside_a_leaf_splits_it_everywhere() -> None:
    channels, height, width = Leaf(6), Leaf(4), Leaf(5)
    made = reshaped([channels, height, width], [2, 3, 20])
    assert [size_of(one) for one in made] == [2, 3, 20]
    assert leaves_of(channels) == [made[0], made[1]], "the channels are now groups of channels"
    assert leaves_of(made[2]) == [height, width]


def test_there_and_back_is_what_it_was() -> None:
    axes = [Leaf(2), Leaf(3), Leaf(4)]
    back = reshaped(reshaped(axes, [24]), [2, 3, 4])
    assert [resolved(one) for one in back] == axes
    assert reshaped(axes, [2, 1, 3, 1, 4])[1] is UNIT


def test_where_no_factors_give_the_lengths_all_stays() -> None:
    axes = [Leaf(4), Leaf(6)]
    made = reshaped(axes, [8, 3])
    assert [size_of(one) for one in made] == [8, 3]
    assert sizes_of(made[0]) == [4, 2], "eight is four times two of six"
    joined = Segments((Leaf(3), Leaf(5)))
    made = reshaped([joined], [4, 2])
    assert {leaf.reason for one in [joined, *made] for leaf in leaves_of(one)} == {MIXED}


def test_factors_that_stay_may_be_cut_anywhere() -> None:
    free = Leaf(5)
    made = reshaped([free, Leaf(4, "stays"), Leaf(9, "stays")], [5, 6, 6])
    assert made[0] is free
    assert free.reason is None
    assert {leaf.reason for one in made[1:] for leaf in leaves_of(one)} == {"stays"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 20))
def test_factors_keep_their_order_whatever_the_boundaries(lengths: list[int], choice: int) -> None:
    total = int(np.prod(lengths))
    divisors = [one for one in range(1, total + 1) if total % one == 0]
    outer = divisors[choice % len(divisors)]
    axes = [Leaf(length) for length in lengths]
    made = reshaped(axes, [outer, total // outer])
    assert [size_of(one) for one in made] == [outer, total // outer]
    before, after = leaves_of(Product(tuple(axes))), leaves_of(Product(tuple(made)))
    if any(leaf.reason for leaf in after):
        assert all(leaf.reason == MIXED for leaf in [*before, *after])
    else:
        assert before == after
