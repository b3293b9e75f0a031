from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.change.summing.measuring import CHUNK, Asked, Measured, measure, nothing_measured
from weightatlas.change.summing.stored import viewed
from weightatlas.change.summing.sums import OF_PAIR, OF_START

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray

WALK = np.random.default_rng(0).standard_normal((4, 1500)).cumsum(0).astype(np.float32)
WALK[1, 700:720] = 0
EVERYTHING = Asked(median=True)


def measured(walk: Array | Sequence[Array], asked: Asked = EVERYTHING) -> Measured:
    """What the last pair of four moments comes to."""
    start, previous, before, after = walk
    into = nothing_measured(asked)
    measure(into, before, after, start=start, previous=previous, asked=asked)
    return into


def assert_equal(found: Measured, expected: Measured) -> None:
    assert found.sums == pytest.approx(expected.sums, rel=1e-6, abs=1e-5)
    assert found.bins is not None
    assert expected.bins is not None
    assert np.array_equal(found.bins, expected.bins)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=5), jumble=st.integers(0, 5))
def test_the_parts_of_a_tensor_add_up_to_the_whole(cuts: list[int], jumble: int) -> None:
    ends = [0, *sorted(cuts), 1500]
    parts = [slice(low, high) for low, high in pairwise(ends)]
    np.random.default_rng(jumble).shuffle(parts)
    total = sum((measured(WALK[:, part]) for part in parts), start=nothing_measured(EVERYTHING))
    assert_equal(total, measured(WALK))


@settings(deadline=None)
@given(seed=st.integers(0, 20))
def test_the_order_of_the_elements_does_not_matter(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(1500)
    assert_equal(measured(np.ascontiguousarray(WALK[:, order])), measured(WALK))


@pytest.mark.parametrize("elements", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_chunks_are_put_together(elements: int) -> None:
    walk = [np.resize(moment, elements) for moment in WALK]
    whole, left = divmod(elements, 1500)
    expected = measured(WALK[:, :left])
    one = measured(WALK)
    assert one.bins is not None
    assert expected.bins is not None
    total = Measured(one.sums * whole + expected.sums, one.bins * whole + expected.bins)
    found = measured(walk)
    assert found.sums == pytest.approx(total.sums, rel=1e-6, abs=1e-4)
    assert np.array_equal(found.bins, total.bins)  # type: ignore[arg-type]


def test_the_first_pair_is_measured_from_its_start_without_another_loop() -> None:
    _, _, before, after = WALK
    same, equal = nothing_measured(EVERYTHING), nothing_measured(EVERYTHING)
    for low in (0, 700):
        old, new = before[low : low + 700], after[low : low + 700]
        measure(same, old, new, start=old, asked=EVERYTHING)
        measure(equal, old, new, start=old.copy(), asked=EVERYTHING)
    assert same.sums == pytest.approx(equal.sums, rel=1e-6)
    assert np.array_equal(same.sums[OF_START], same.sums[OF_PAIR])


def test_what_is_not_asked_for_is_not_measured() -> None:
    only = measured(WALK, Asked(only_norms=True))
    assert only.bins is None
    assert np.count_nonzero(only.sums) == 2
    assert (only + only).bins is None
    counted = measured(WALK, Asked(only_norms=True, median=True))
    assert np.array_equal(counted.bins, measured(WALK).bins)  # type: ignore[arg-type]


def test_types_that_are_converted_where_they_are_read() -> None:
    tensors = [torch.from_numpy(moment).to(torch.float8_e5m2) for moment in WALK]
    found, expected = measured(tensors), measured([tensor.float().numpy() for tensor in tensors])  # type: ignore[arg-type]
    assert_equal(found, expected)
    halves = [torch.from_numpy(moment).bfloat16() for moment in WALK]
    views = [viewed(half) for half in halves]
    assert_equal(measured(views), measured([half.float().numpy() for half in halves]))  # type: ignore[arg-type]
