from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from weightatlas.errors import SourceError
from weightatlas.evaluation import Data
from weightatlas.evaluation.held_batches import HeldBatches

if TYPE_CHECKING:
    from collections.abc import Iterator


def dataset() -> TensorDataset:
    return TensorDataset(torch.arange(10.0)[:, None], torch.arange(10))


def test_batches_come_as_they_are_up_to_the_examples_asked_for() -> None:
    held = HeldBatches(DataLoader(dataset(), batch_size=4), examples=6)
    assert [targets.tolist() for _, targets in held] == [[0, 1, 2, 3], [4, 5]]
    assert (held.examples, held.count, held.is_held) == (6, 2, True)


def test_so_many_batches_and_no_more_are_fetched() -> None:
    def endless() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield torch.zeros(2, 1), torch.zeros(2)

    assert HeldBatches(endless(), batches=3).examples == 6


def test_what_is_held_is_fetched_once() -> None:
    passes = 0

    class Counting:
        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            nonlocal passes
            passes += 1
            yield from [(torch.zeros(2, 1), torch.zeros(2))]

    held = HeldBatches(Counting())
    assert [len(list(held)) for _ in range(3)] == [1, 1, 1]
    assert passes == 1


def test_more_than_the_limit_is_fetched_again_and_is_the_same() -> None:
    plain, again = (HeldBatches(DataLoader(dataset(), batch_size=4), limit=limit) for limit in (10**6, 60))
    assert not again.is_held
    for _ in range(2):
        assert [batch[0].tolist() for batch in again] == [batch[0].tolist() for batch in plain]


def test_data_that_come_in_another_order_are_refused_when_they_are_not_held() -> None:
    generator = torch.Generator().manual_seed(0)
    shuffled = HeldBatches(DataLoader(dataset(), batch_size=4, shuffle=True, generator=generator), limit=10)
    with pytest.raises(SourceError, match="other examples than the first; give data without shuffling"):
        list(shuffled)


def test_data_that_can_be_gone_through_once_are_refused_when_they_are_not_held() -> None:
    once = HeldBatches(iter([(torch.zeros(2, 1), torch.zeros(2))]), limit=1)
    with pytest.raises(SourceError, match="fewer examples than the first"):
        list(once)


def test_passes_are_not_counted() -> None:
    data = Data("counted", lambda epoch: iter([(torch.zeros(2, 1), torch.full((2,), epoch))]), shape=(1,))
    held = HeldBatches(data, limit=1)
    for _ in range(2):
        assert [targets.tolist() for _, targets in held] == [[0, 0]]
    assert data.epoch == 0


@pytest.mark.parametrize(("examples", "batches"), [(0, None), (None, 0)])
def test_nothing_asked_for_is_refused(examples: int | None, batches: int | None) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        HeldBatches([(torch.zeros(2, 1), torch.zeros(2))], examples=examples, batches=batches)


def test_no_data_are_refused() -> None:
    with pytest.raises(ValueError, match="no example"):
        HeldBatches([])


@pytest.mark.parametrize("limit", [10**6, 1])
def test_what_is_written_into_the_inputs_of_a_pass_is_in_no_other_and_not_in_the_data(limit: int) -> None:
    inputs = torch.arange(6.0)[:, None]
    held = HeldBatches([(inputs[:4], torch.zeros(4)), (inputs[4:], torch.zeros(2))], limit=limit)
    for _ in range(2):
        for each, _ in held:
            each.add_(1)
    assert inputs.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.cat([each for each, _ in held]).flatten().tolist() == [0, 1, 2, 3, 4, 5]
