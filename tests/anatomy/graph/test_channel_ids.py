from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.anatomy.graph.channel_ids import Channels, Nodes, broadcast, compact, moved, shape_of_both

LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def channels(*shape: int, axis: int = 1, first: int = 0) -> Channels:
    """A value whose units differ along one axis."""
    lengths = [length if place == axis else 1 for place, length in enumerate(shape)]
    return Channels(torch.arange(first, first + shape[axis]).reshape(lengths), shape, 0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(LENGTHS, st.data())
def test_compact_ids_expand_to_what_they_were_and_no_axis_is_left_that_need_not_be(
    lengths: list[int], data: st.DataObject
) -> None:
    size = torch.Size(lengths).numel()
    ids = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))).reshape(lengths)
    found = compact(ids)
    assert torch.equal(found.expand(lengths), ids)
    for axis, length in enumerate(found.shape):
        assert length == 1 or bool((ids != ids.narrow(axis, 0, 1)).any())


def test_expanding_takes_no_memory() -> None:
    value = channels(2, 3, 100, 100)
    assert value.varying == (1,)
    assert value.expanded().shape == (2, 3, 100, 100)
    assert value.expanded().untyped_storage().nbytes() == 3 * 8


def test_an_operator_with_several_outputs_gives_one_compact_result_each() -> None:
    first, second = moved(channels(2, 5, 4), lambda ids: torch.tensor_split(ids, [2], 1))
    assert first.tolist() == [[[0], [1]]]
    assert second.tolist() == [[[2], [3], [4]]]
    (turned,) = moved(channels(2, 5, 4), lambda ids: ids.transpose(1, 2))
    assert turned.tolist() == [[[0, 1, 2, 3, 4]]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 9), st.lists(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=4), max_size=4))
def test_nodes_are_the_components_of_what_was_merged(count: int, merges: list[list[tuple[int, int]]]) -> None:
    nodes = Nodes()
    nodes.fresh(count)
    label = list(range(count))  # the slow way: relabel everything at every pair
    for pairs in merges:
        own = [(one % count, other % count) for one, other in pairs]
        first, second = (torch.tensor([pair[side] for pair in own], dtype=torch.long) for side in (0, 1))
        nodes.merge(first, second)
        for one, other in own:
            label = [label[one] if each == label[other] else each for each in label]
    numbers = nodes.numbers().tolist()
    assert [[a == b for b in numbers] for a in numbers] == [[a == b for b in label] for a in label]
    assert list(dict.fromkeys(numbers)) == list(range(len(set(label)))), "numbered in order of first appearance"


def test_fresh_ids_are_nobody_else_s_and_none_is_a_number_too() -> None:
    nodes = Nodes()
    assert nodes.numbers().tolist() == []
    first, second = nodes.fresh(3), nodes.fresh(2)
    assert (first.tolist(), second.tolist(), nodes.count) == ([0, 1, 2], [3, 4], 5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(LENGTHS, st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2))
def test_the_shape_of_both_is_what_torch_gives(lengths: list[int], alone: list[bool], dropped: int) -> None:
    other = [1 if one else length for length, one in zip(lengths, alone, strict=False)][dropped:]
    expected = tuple((torch.empty(lengths) + torch.empty(other)).shape)
    assert shape_of_both(lengths, other) == expected
    assert shape_of_both(other, lengths) == expected


def test_ids_meet_where_their_values_do() -> None:
    left, right = broadcast([channels(2, 3, 4), channels(3, 1, axis=0, first=7)])
    assert left.shape == right.shape == (1, 3, 1)
    assert (left.flatten().tolist(), right.flatten().tolist()) == ([0, 1, 2], [7, 8, 9])


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RuntimeError, match="must match the existing size"):
        broadcast([channels(2, 3), channels(2, 4)])
