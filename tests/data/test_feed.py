from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.data import Augmentation
from weightatlas.data.examples import held_in_memory
from weightatlas.data.feed import STRIP, Draws, Passes, class_count, shape_after, share, stretch
from weightatlas.errors import SourceError

TEN = held_in_memory("ten", torch.arange(10.0)[:, None], torch.arange(10))


@given(st.integers(0, 10**9), st.integers(1, 300), st.integers(1, 20))
def test_shares_follow_each_other_and_differ_by_one_at_most(start: int, size: int, ranks: int) -> None:
    shares = [share(start, size, rank, ranks) for rank in range(ranks)]
    place = start
    for begin, count in shares:
        assert begin == place
        place += count
    assert place == start + size
    counts = [count for _, count in shares]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(("start", "size", "rank", "ranks"), [(-1, 4, 0, 1), (0, 0, 0, 1), (0, 4, 2, 2), (0, 4, -1, 2)])
def test_a_stretch_or_rank_that_is_not_there_is_refused(start: int, size: int, rank: int, ranks: int) -> None:
    with pytest.raises(ValueError, match="a batch needs start >= 0, size >= 1 and rank"):
        share(start, size, rank, ranks)


@given(st.integers(0, 50), st.integers(0, 40), st.integers(1, 9))
def test_a_stretch_is_that_of_all_blocks_in_a_row(start: int, size: int, length: int) -> None:
    def block(number: int) -> torch.Tensor:
        return torch.arange(number * length, (number + 1) * length)

    assert stretch(block, length, start, size).tolist() == list(range(start, start + size))


@pytest.mark.parametrize("blocks", [(), (3, 3, 4)])
def test_every_pass_has_every_number_once_in_an_order_of_its_own(blocks: tuple[int, ...]) -> None:
    numbers = Passes(replace(TEN, blocks=blocks), seed=5)
    passes = [numbers(10 * number, 10).tolist() for number in range(4)]
    assert all(sorted(order) == list(range(10)) for order in passes)
    assert len({tuple(order) for order in passes}) == 4
    row = [number for order in passes for number in order]
    assert numbers(7, 25).tolist() == row[7:32]
    assert Passes(replace(TEN, blocks=blocks), seed=5)(20, 10).tolist() == passes[2]
    assert Passes(replace(TEN, blocks=blocks), seed=6)(20, 10).tolist() != passes[2]


def test_draws_of_a_place_do_not_depend_on_what_was_asked_before() -> None:
    augmentation = Augmentation(flip=True)
    drawn = Draws(augmentation, seed=1)
    whole = drawn(0, 3 * STRIP)
    again = Draws(augmentation, seed=1)
    assert torch.equal(again(STRIP - 5, 10), whole[STRIP - 5 : STRIP + 5])
    assert torch.equal(again(2 * STRIP, 0), whole[:0])
    assert not torch.equal(Draws(augmentation, seed=2)(0, 10), whole[:10])
    assert len(set(whole[:, 0].tolist())) == 3 * STRIP, "no strip repeats another"


def test_classes_are_counted_by_their_names_or_by_the_largest_target() -> None:
    targets = torch.tensor([0, 4, 1])
    assert class_count("x", targets, None) == 5
    assert class_count("x", targets, tuple("abcdefg")) == 7
    assert class_count("x", targets / 2, None) is None
    assert class_count("x", torch.eye(3).long(), None) is None
    assert class_count("x", torch.eye(3).long(), ("a", "b", "c")) == 3


@pytest.mark.parametrize(("targets", "names"), [([-1, -1], None), ([0, 3], ("a", "b", "c"))])
def test_a_label_that_is_no_class_is_refused(targets: list[int], names: tuple[str, ...] | None) -> None:
    with pytest.raises(SourceError, match=r"x: labels from -?\d to -?\d, where classes are 0 to -?\d; choose a split"):
        class_count("x", torch.tensor(targets), names)


def test_data_that_cannot_be_augmented_are_named() -> None:
    assert shape_after("x", (3, 8, 8), Augmentation(crop=6)) == (3, 6, 6)
    with pytest.raises(SourceError, match=r"x: inputs of shape \[5\] are no images .*; change the augmentation"):
        shape_after("x", (5,), Augmentation(flip=True))


def test_passes_and_draws_let_go_of_what_they_hold_at_once() -> None:
    gc.disable()
    try:
        pixels = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
        gone = weakref.ref(pixels)
        passes = Passes(held_in_memory("four", pixels, torch.arange(4)), 0)
        passes(0, 6)
        del passes, pixels
        assert gone() is None
    finally:
        gc.enable()
