from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.errors import SourceError
from weightatlas.lab import Configuration, Recipe
from weightatlas.lab.plan import Plan, Stretch, kept_steps, make_plan, saved_steps


def test_the_articles_plan_doubles_its_batches_after_thirty_of_ninety_epochs() -> None:
    plan = make_plan(Recipe(epochs=90, batch_size=512, batch_schedule=((30, 1024),)), 1_281_167)
    change = 30 * 1_281_167 // 512
    assert plan.stretches == (Stretch(0, 0, 512), Stretch(change, change * 512, 1024))
    assert plan.batch(change - 1) == ((change - 1) * 512, 512)
    assert plan.batch(change) == (change * 512, 1024)
    assert plan.steps == change + (90 * 1_281_167 - change * 512) // 1024


def test_epochs_may_be_fractions_and_end_where_they_end() -> None:
    plan = make_plan(Recipe(epochs=2.5, batch_size=10), 100)
    assert plan.steps == 25
    assert [plan.epoch(step) for step in (0, 10, 25)] == [0, 1, 2.5]
    assert plan.ends_of_epochs() == (10, 20, 25)


def test_batches_run_over_the_ends_of_passes() -> None:
    plan = make_plan(Recipe(epochs=3, batch_size=4), 10)
    assert [plan.batch(step) for step in range(plan.steps)] == [(start, 4) for start in range(0, 28, 4)]
    assert plan.ends_of_epochs() == (3, 5, 7)


def test_a_pass_smaller_than_a_batch_ends_once_however_often_it_was_gone_through() -> None:
    assert make_plan(Recipe(steps=3, batch_size=25), 10).ends_of_epochs() == (1, 2, 3)


def test_data_without_end_have_no_epochs() -> None:
    plan = make_plan(Recipe(steps=7, batch_size=4), None)
    assert plan.epoch(3) is None
    assert plan.ends_of_epochs() == (7,)


def test_two_changes_within_one_batch_are_one() -> None:
    plan = make_plan(Recipe(epochs=2, batch_size=8, batch_schedule=((1.0, 2), (1.05, 5))), 10)
    assert [plan.batch(step) for step in range(plan.steps)] == [(0, 8), (8, 2), (10, 5), (15, 5)]


schedules = st.lists(st.tuples(st.floats(0.01, 5), st.integers(1, 40)), max_size=3, unique_by=lambda pair: pair[0])


@given(
    examples=st.integers(1, 300),
    epochs=st.floats(0.1, 8),
    size=st.integers(1, 64),
    schedule=schedules.map(lambda pairs: tuple(sorted(pairs))),
)
def test_every_place_of_the_stream_is_seen_once_and_in_order(
    examples: int, epochs: float, size: int, schedule: tuple[tuple[float, int], ...]
) -> None:
    recipe = Recipe(epochs=epochs, batch_size=size, batch_schedule=schedule)
    try:
        plan = make_plan(recipe, examples)
    except SourceError:
        return
    seen = [place for step in range(plan.steps) for place in range(plan.batch(step)[0], sum(plan.batch(step)))]
    asked = round(epochs * examples)
    assert seen == list(range(len(seen)))
    assert asked - max(size, *(entry for _, entry in (*schedule, (0, 1)))) < len(seen) <= asked
    for epoch, later in schedule:
        sizes = {plan.batch(step)[1] for step in range(plan.steps) if plan.batch(step)[0] >= epoch * examples}
        assert later in sizes or not sizes or any(epoch < other for other, _ in schedule)


@given(steps=st.integers(1, 200), examples=st.integers(1, 100), size=st.integers(1, 50))
def test_ends_of_epochs_are_the_first_updates_beyond_each(steps: int, examples: int, size: int) -> None:
    plan = make_plan(Recipe(steps=steps, batch_size=size), examples)
    passes = [step * size // examples for step in range(steps + 1)]
    slow = [step for step in range(1, steps + 1) if passes[step] > passes[step - 1]]
    assert plan.ends_of_epochs() == tuple(sorted({*slow, steps}))


@pytest.mark.parametrize(
    ("keep", "every", "expected"),
    [
        ("last", None, {13}),
        ("last", 5, {0, 5, 10, 13}),
        ("log", None, {0, 1, 2, 4, 8, 13}),
        ("epochs", None, {0, 5, 10, 13}),
    ],
)
def test_which_checkpoints_stay(keep: str, every: int | None, expected: set[int]) -> None:
    plan = make_plan(Recipe(steps=13, batch_size=2), 10)
    assert kept_steps(plan, keep, every) == expected  # type: ignore[arg-type]


def test_a_run_of_a_power_of_two_keeps_it_once() -> None:
    assert kept_steps(Plan(8, (Stretch(0, 0, 1),), None), "log", None) == {0, 1, 2, 4, 8}


def test_a_run_is_saved_twenty_times_or_as_often_as_asked() -> None:
    plan = make_plan(Recipe(steps=400), None)
    configuration = Configuration(model="m", data="d", recipe=Recipe(steps=400))
    assert saved_steps(plan, configuration) == set(range(20, 401, 20))
    often = Configuration(model="m", data="d", recipe=Recipe(steps=400), save_every=150, keep="log")
    assert saved_steps(plan, often) == {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 150, 300, 400}


def test_a_run_of_fewer_steps_than_saves_is_saved_after_each() -> None:
    configuration = Configuration(model="m", data="d", recipe=Recipe(steps=3))
    assert saved_steps(make_plan(Recipe(steps=3), None), configuration) == {1, 2, 3}


@pytest.mark.parametrize(
    ("recipe", "examples", "what"),
    [
        (Recipe(), 10, "give --steps or --epochs"),
        (Recipe(epochs=1), None, "give --steps instead of --epochs"),
        (Recipe(steps=5, batch_schedule=((1, 8),)), None, "no batch schedule"),
        (Recipe(epochs=1, batch_size=11), 10, "its 10 examples fill no batch of 11"),
        (
            Recipe(epochs=1, batch_size=2, batch_schedule=((2, 4),)),
            10,
            "the batch schedule begins after the last epoch",
        ),
    ],
)
def test_plans_that_cannot_be_are_refused(recipe: Recipe, examples: int | None, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        make_plan(recipe, examples)
