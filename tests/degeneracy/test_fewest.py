"""The search for the fewest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.degeneracy.fewest import fewest


@given(st.integers(0, 300), st.integers(0, 300), st.floats(1.1, 20))
def test_where_more_is_never_worse_it_finds_the_least(total: int, least: int, schedule: float) -> None:
    found = fewest(lambda kept: float(kept >= least), lambda value: value > 0, total, schedule=schedule)
    assert found.needed == (least if least <= total else None)
    assert found.curve[[0, -1], 0].tolist() == [0, total]


def test_what_it_finds_is_enough_and_one_less_is_not_even_where_more_may_be_worse() -> None:
    values = [0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1]
    found = fewest(lambda kept: values[kept], lambda value: value > 0, 10)
    assert found.needed == 7
    assert dict(found.curve.tolist())[6] == 0


def test_nothing_is_measured_twice() -> None:
    asked: list[int] = []
    fewest(lambda kept: asked.append(kept) or float(kept), lambda value: value >= 57, 200)  # type: ignore[func-returns-value]
    assert len(asked) == len(set(asked))


def test_a_schedule_that_does_not_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="above 1"):
        fewest(float, bool, 3, schedule=1.0)
