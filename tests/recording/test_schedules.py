from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.recording.schedules import Schedule, forward, log_spaced, schedule


def steps_of(following: Schedule, last: int, first: int = 0) -> list[int]:
    steps = [first]
    while steps[-1] < last:
        steps.append(following(steps[-1]))
    return steps[1:]


def test_every_so_many_steps() -> None:
    assert steps_of(schedule(3), 12) == [3, 6, 9, 12]
    assert schedule(3)(4) == 6


def test_a_loop_that_counts_from_zero_is_recorded_from_its_first_update() -> None:
    assert schedule(1)(-1) == 0


def test_log_is_the_powers_of_two() -> None:
    assert steps_of(schedule("log"), 64) == [1, 2, 4, 8, 16, 32, 64]
    assert [schedule("log")(step) for step in (-1, 3, 1000)] == [1, 4, 1024]


def test_a_schedule_of_ones_own_is_taken_as_it_is() -> None:
    assert steps_of(schedule(lambda step: step + 7), 21) == [7, 14, 21]


@settings(deadline=None)
@given(st.floats(0.3, 40), st.integers(0, 200_000))
def test_log_spaced_gives_the_next_of_the_rounded_powers(per_decade: float, step: int) -> None:
    powers = {round(10 ** (k / per_decade)) for k in range(math.ceil(7 * per_decade) + 2)}
    assert log_spaced(per_decade)(step) == min(power for power in powers if power > step)


@pytest.mark.parametrize("per_decade", [1, 5, 12])
def test_log_spaced_gives_so_many_in_each_decade(per_decade: int) -> None:
    steps = steps_of(log_spaced(per_decade), 10**6)
    for low, high in pairwise([10**3, 10**4, 10**5, 10**6]):
        assert sum(low < step <= high for step in steps) == per_decade


@pytest.mark.parametrize("every", [0, -1, True, 1.5, "linear", None])
def test_what_is_no_schedule_is_refused(every: object) -> None:
    with pytest.raises(ValueError, match="every must be"):
        schedule(every)  # type: ignore[arg-type]


@pytest.mark.parametrize("per_decade", [0, -2, math.nan, math.inf])
def test_what_spaces_nothing_is_refused(per_decade: float) -> None:
    with pytest.raises(ValueError, match="per_decade must be"):
        log_spaced(per_decade)


def test_steps_go_forward_or_stand_still() -> None:
    assert [forward(step, after=after) for step, after in ((-1, None), (3, 2), (3, 3))] == [-1, 3, 3]
    with pytest.raises(ValueError, match="steps go forward: 2 came after 3"):
        forward(2, after=3)
