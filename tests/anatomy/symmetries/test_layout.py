from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.anatomy.symmetries.layout import (
    Combined,
    Factor,
    Joined,
    Layout,
    factors_of,
    moved_share,
    order_of,
    positions_of,
)

FACTORS = st.sampled_from([Factor(2, "a"), Factor(3, "b"), Factor(4), Factor(1), Factor(5, "c")])
LAYOUTS = st.recursive(
    FACTORS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Combined(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Joined(tuple(parts))),
    ),
    max_leaves=5,
)
SIZES = {"a": 2, "b": 3, "c": 5}


def slow_order(layout: Layout, orders: dict[str, np.ndarray]) -> list[int]:
    """The order of an axis from the names of its entries: each is moved, and looked up by its name."""
    names = names_of(layout, {})
    moved = names_of(layout, orders)
    return [names.index(name) for name in moved]


def names_of(layout: Layout, orders: dict[str, np.ndarray]) -> list[tuple[object, ...]]:
    if isinstance(layout, Factor):
        order = orders.get(layout.group or "", np.arange(layout.size))
        return [(int(entry),) for entry in order]
    parts = [names_of(part, orders) for part in layout.parts]
    if isinstance(layout, Joined):
        return [(place, *name) for place, part in enumerate(parts) for name in part]
    names: list[tuple[object, ...]] = [()]
    for part in parts:
        names = [(*name, *more) for name in names for more in part]
    return names


@settings(max_examples=60, deadline=None, derandomize=True)
@given(LAYOUTS, st.integers(0, 5))
def test_the_order_of_an_axis_is_what_its_entries_names_say(layout: Layout, seed: int) -> None:
    generator = np.random.default_rng(seed)
    orders = {name: generator.permutation(size) for name, size in SIZES.items()}
    assert order_of(layout, orders).tolist() == slow_order(layout, orders)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(LAYOUTS)
def test_positions_are_those_that_a_permutation_moves(layout: Layout) -> None:
    groups = [factor.group for factor in factors_of(layout) if factor.group]
    for group in set(groups):
        places = positions_of(layout, group)
        assert places.shape[0] == SIZES[group]
        if groups.count(group) == 1:
            order = np.roll(np.arange(SIZES[group]), 1)
            np.testing.assert_array_equal(order_of(layout, {group: order})[places], places[order])


def test_shares_and_text() -> None:
    layout = Joined((Combined((Joined((Factor(1), Factor(2, "a"))), Factor(2))), Factor(4)))
    assert str(layout) == "(1 + [a]) × 2 + 4"
    assert layout.size == 10
    assert moved_share(layout) == 0.4
