from __future__ import annotations

import pytest

from weightatlas.checkpoints.runs.run_order import in_order, read_texts
from weightatlas.checkpoints.runs.step_pattern import compile_pattern
from weightatlas.checkpoints.runs.steps import Reading, read_name

NOTHING = Reading()


def order_of(names: list[str], told: list[Reading] | None = None, *, is_ordered: bool = False) -> tuple[object, ...]:
    order = in_order(
        read_texts([(name,) for name in names], None), told or [NOTHING] * len(names), is_ordered=is_ordered
    )
    return order.unit, order.places


def test_names_place_the_checkpoints() -> None:
    assert order_of(["step20", "step3"]) == ("step", (20, 3))
    assert order_of(["epoch=2.ckpt", "epoch=1.ckpt"]) == ("epoch", (2, 1))
    assert order_of(["tokens4B", "tokens1B"]) == ("token", (4 * 10**9, 10**9))
    assert order_of(["epoch=0-step=9.ckpt", "epoch=1-step=18.ckpt"]) == ("step", (9, 18))


def test_metadata_fill_in_what_a_name_does_not_tell() -> None:
    told = [NOTHING, Reading(step=30, epoch=3)]
    assert order_of(["step20", "last.pt"], told) == ("step", (20, 30))
    assert order_of(["epoch=2.ckpt", "last.pt"], told) == ("epoch", (2, 3))


def test_bare_numbers_are_epochs_where_metadata_say_so() -> None:
    names = ["model_0.pth", "model_90.pth", "checkpoint.pth"]
    assert order_of(names, [Reading(epoch=0), Reading(epoch=90), Reading(epoch=91)]) == ("epoch", (0, 90, 91))
    assert order_of(names, [Reading(step=0, epoch=0), Reading(step=900, epoch=90), Reading(epoch=91)])[0] == "epoch"


@pytest.mark.parametrize(
    "told",
    [
        [Reading(epoch=0), Reading(epoch=3), Reading(epoch=3)],
        [NOTHING, NOTHING, Reading(epoch=90)],
        [Reading(step=0, epoch=0), Reading(step=90, epoch=90), Reading(epoch=90)],
    ],
)
def test_bare_numbers_are_steps_otherwise(told: list[Reading]) -> None:
    assert order_of(["model_0.pth", "model_90.pth", "checkpoint.pth"], told) == ("step", (0, 90, None))


def test_a_word_is_believed_before_the_epoch() -> None:
    assert order_of(["step1", "step2"], [Reading(epoch=1), Reading(epoch=2)]) == ("step", (1, 2))


def test_metadata_count_where_no_name_tells() -> None:
    told = [Reading(step=5), Reading(step=3, epoch=1), NOTHING]
    order = in_order([NOTHING] * 3, told, is_ordered=True)
    assert (order.unit, order.places) == ("step", (5, 3, None))
    assert order.reasons == ("", "", "nothing tells its step")


def test_a_name_in_another_unit_has_no_place() -> None:
    order = in_order([read_name("step5"), read_name("step6"), read_name("epoch3")], [NOTHING] * 3, is_ordered=False)
    assert order.places == (5, 6, None)
    assert order.reasons[2] == "its name tells no step, as the others do"


def test_a_list_that_tells_nothing_keeps_its_order() -> None:
    order = in_order([NOTHING] * 3, [NOTHING] * 3, is_ordered=True)
    assert (order.unit, order.places) == ("position", (0, 1, 2))
    assert "in which they were given" in order.notes[0]
    assert in_order([NOTHING] * 3, [NOTHING] * 3, is_ordered=False).places == (None, None, None)


def test_steps_that_start_again_are_numbered_by_epoch_and_step() -> None:
    names = ["epoch1_step500", "epoch0_step1000", "epoch0_step500", "epoch1_step1000"]
    order = in_order([read_name(name) for name in names], [NOTHING] * 4, is_ordered=False)
    assert (order.unit, order.places) == ("position", (2, 1, 0, 3))
    assert "start again" in order.notes[0]


def test_the_stage_with_most_checkpoints_is_the_run() -> None:
    names = ["stage1-step1000", "stage1-step2000", "stage2-step1000", "main"]
    order = in_order([read_name(name) for name in names], [NOTHING] * 4, is_ordered=False)
    assert order.places == (1000, 2000, None, None)
    assert order.reasons[2].startswith("of stage2, beside stage1, which has more checkpoints")


def test_paths_tell_by_the_part_that_tells_most() -> None:
    texts = [("model.safetensors", f"step{step}", "run7") for step in (1, 2)]
    assert [reading.step for reading in read_texts(texts, None)] == [1, 2]
    assert [reading.step for reading in read_texts([("a.pt",), ("b.pt",), ()], None)] == [None, None, None]


def test_a_pattern_alone_counts() -> None:
    pattern = compile_pattern("w{step}x")
    named = read_texts([("w5x",), ("step9",), ("model.pt", "w7x")], pattern)
    order = in_order(named, [Reading(step=1)] * 3, is_ordered=True, pattern=pattern)
    assert order.places == (5, None, 7)
    assert order.reasons == ("", "does not fit the pattern", "")


@pytest.mark.parametrize("count", [0, 1])
def test_short_runs(count: int) -> None:
    assert in_order([Reading(step=4)] * count, [NOTHING] * count, is_ordered=False).places == (4,) * count
