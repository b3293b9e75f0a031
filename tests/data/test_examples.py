from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weightatlas.data.examples import Examples, held_in_memory, in_order, limited


def numbered(count: int, *, blocks: tuple[int, ...] = ()) -> Examples:
    examples = held_in_memory("numbers", torch.arange(count).reshape(-1, 1), torch.arange(count))
    return replace(examples, blocks=blocks)


def test_fetching_gives_inputs_in_the_order_asked_for() -> None:
    examples = numbered(10)
    inputs, read = examples.fetch(torch.tensor([7, 2, 2]))
    assert inputs.flatten().tolist() == [7, 2, 2] == read.tolist()
    assert len(examples) == 10
    assert examples.shape == (1,)


@pytest.mark.parametrize("blocks", [(), (4, 1, 0, 5)])
@pytest.mark.parametrize("limit", [None, 3, 10, 1000])
def test_a_shuffled_pass_has_every_example_once_and_only_the_first_under_a_limit(
    blocks: tuple[int, ...], limit: int | None
) -> None:
    examples = numbered(10, blocks=blocks)
    order = in_order(examples, limit=limit, seed=3)
    assert sorted(order.tolist()) == list(range(min(limit or 10, 10)))
    assert torch.equal(order, in_order(examples, limit=limit, seed=3))


def test_without_a_seed_the_order_is_that_of_the_data() -> None:
    assert in_order(numbered(5), limit=None, seed=None).tolist() == [0, 1, 2, 3, 4]
    assert in_order(numbered(5), limit=2, seed=None).tolist() == [0, 1]


def test_seeds_give_different_orders() -> None:
    orders = {tuple(in_order(numbered(20, blocks=(5,) * 4), limit=None, seed=seed).tolist()) for seed in range(5)}
    assert len(orders) == 5


def test_a_block_is_read_once_in_a_shuffled_pass() -> None:
    blocks = (100, 7, 50, 1, 42)
    order = in_order(numbered(200, blocks=blocks), limit=None, seed=1)
    block_of = torch.repeat_interleave(torch.arange(5), torch.tensor(blocks))[order]
    assert int((block_of[1:] != block_of[:-1]).sum()) == 4
    assert order.tolist() != sorted(order.tolist())


def test_no_examples_give_an_empty_pass() -> None:
    assert in_order(numbered(0, blocks=()), limit=None, seed=0).tolist() == []


@pytest.mark.parametrize(("limit", "blocks"), [(10, (4, 1, 0, 5)), (7, (4, 1, 0, 2)), (5, (4, 1)), (3, (3,))])
def test_a_limit_keeps_the_first_examples_and_the_blocks_they_lie_in(limit: int, blocks: tuple[int, ...]) -> None:
    examples = limited(numbered(10, blocks=(4, 1, 0, 5)), limit)
    assert examples.targets.tolist() == list(range(limit))
    assert examples.blocks == blocks
    assert sorted(in_order(examples, limit=None, seed=1).tolist()) == list(range(limit))


def test_a_limit_beyond_the_end_changes_nothing() -> None:
    examples = numbered(10)
    assert limited(examples, None) is limited(examples, 11) is examples
