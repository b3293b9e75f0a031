from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.runs.schedule import note_of_gaps, starts_again


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [5],
        [0, 100],
        [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000, 3000],
        [0, 1, 2, 4, 8, 16, 32, 64, 100, 128, 200, 256, 300],
        [*range(0, 10_000, 1000), 9375],
        [0, 10, 20, 120, 220],
        [1, 10, 100, 1000],
    ],
)
def test_whole_schedules_have_no_gaps(steps: list[int]) -> None:
    assert note_of_gaps(steps, "step") is None


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([0, 100, 300, 400], "step 200 is missing: before and after there is one every 100"),
        ([1, 2, 5, 6], "steps 3 to 4 are missing: before and after there is one every 1"),
        ([0, 100, 300, 500, 600], "steps 200 and 400 are missing: before and after there is one every 100"),
        (
            [0, 1, 3, 4, 1000, 2000, 4000, 5000],
            "steps 2 and 3,000 are missing: before and after there is one every 1 and 1,000",
        ),
    ],
)
def test_gaps_are_said(steps: list[int], said: str) -> None:
    assert note_of_gaps(steps, "step") == said


def test_many_gaps_are_counted() -> None:
    steps = [step for start in range(0, 400, 4) for step in (start, start + 1)]
    said = note_of_gaps([*steps, 400], "epoch")
    assert said is not None
    assert said.startswith("epochs 2 to 3, 6 to 7, ")
    assert "others (198 in all)" in said


@given(st.integers(2, 60), st.integers(1, 1000), st.data())
def test_one_step_taken_out_of_a_regular_run_is_missed(count: int, spacing: int, data: st.DataObject) -> None:
    steps = [place * spacing for place in range(count + 3)]
    lost = data.draw(st.sampled_from(steps[2:-2]))
    said = note_of_gaps([step for step in steps if step != lost], "step")
    assert said == f"step {lost:,} is missing: before and after there is one every {spacing:,}"


@given(st.lists(st.integers(1, 1000), max_size=40))
def test_a_spacing_that_only_grows_has_no_gaps(widths: list[int]) -> None:
    steps = [0]
    for width in sorted(widths):
        steps.append(steps[-1] + width)
    assert note_of_gaps(steps, "step") is None


@pytest.mark.parametrize(
    ("places", "again"),
    [
        ([(0, 500), (0, 1000), (1, 500), (1, 1000)], True),
        ([(0, 500), (0, 1000), (1, 1500)], False),
        ([(0, 1000), (1, 1000)], False),
        ([], False),
    ],
)
def test_steps_that_start_again_with_every_epoch(places: list[tuple[int, int]], *, again: bool) -> None:
    assert starts_again(places) is again
