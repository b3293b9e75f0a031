from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from weightatlas.checkpoints import Skipped
from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.errors import SourceError
from weightatlas.evaluation.batches import Batching, batched, passed_through

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = torch.randint(0, 256, (10, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
EXAMPLES = held_in_memory("images", IMAGES, torch.arange(10), classes=list("abcdefghij"))


def targets_of(data: Any) -> list[list[int]]:  # noqa: ANN401 - any batches
    return [targets.tolist() for _, targets in data]


def test_batches_are_in_order_and_the_same_every_time() -> None:
    data = batched(EXAMPLES, Batching(4))
    assert len(data) == 3
    assert data.examples == 10
    assert data.shape == (3, 4, 4)
    assert data.classes == tuple("abcdefghij")
    assert targets_of(data) == targets_of(data) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for inputs, targets in data:
        assert inputs.dtype == torch.float32
        assert targets.dtype == torch.int64
        assert torch.equal(inputs, IMAGES[targets].float() / 255)


def test_two_passes_at_once_do_not_disturb_each_other() -> None:
    data = batched(EXAMPLES, Batching(3, shuffle=True))
    first, second = iter(data), iter(data)
    mixed: tuple[list[int], list[int]] = ([], [])
    for one, two in zip(first, second, strict=True):
        mixed[0].extend(one[1].tolist())
        mixed[1].extend(two[1].tolist())
    assert sorted(mixed[0]) == sorted(mixed[1]) == list(range(10))
    assert mixed[0] != mixed[1]


def test_a_shuffled_pass_is_that_of_its_seed_and_epoch() -> None:
    first, second = (batched(EXAMPLES, Batching(4, shuffle=True, seed=3)) for _ in range(2))
    passes = [targets_of(first) for _ in range(3)]
    assert passes[0] != passes[1] != passes[2]
    second.epoch = 2
    assert targets_of(second) == passes[2]
    assert second.epoch == 3
    other = batched(EXAMPLES, Batching(4, shuffle=True, seed=-3))
    assert targets_of(other) != passes[0]


def test_a_limit_takes_the_first_examples() -> None:
    data = batched(EXAMPLES, Batching(4, limit=6, shuffle=True))
    assert sorted(functools.reduce(operator.iadd, targets_of(data), [])) == [0, 1, 2, 3, 4, 5]
    assert len(data) == 2
    assert data.examples == 6
    assert batched(EXAMPLES, Batching(4, limit=100)).examples == 10


def partly(readable: set[int]) -> Examples:
    skipped: list[Skipped] = []

    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read = torch.tensor([number for number in numbers.tolist() if number in readable], dtype=torch.int64)
        skipped.extend(Skipped(str(number), "broken") for number in numbers.tolist() if number not in readable)
        return IMAGES[read], read

    return Examples("partly", fetch, torch.arange(10), (3, 4, 4), skipped=skipped)


def test_what_cannot_be_read_is_left_out_with_its_target_and_said() -> None:
    data = batched(partly({1, 9}), Batching(4))
    assert targets_of(data) == [[1], [9]]
    assert len(data.skipped) == 8
    with pytest.raises(SourceError, match="none of its examples can be read"):
        list(batched(partly(set()), Batching(4)))


def test_data_say_what_they_are_made_of() -> None:
    data = batched(EXAMPLES, Batching(4, limit=6, normalization="half"))
    assert data.material is EXAMPLES
    assert (data.limit, data.normalization) == (6, "half")


def test_normalisation_is_applied_to_a_batch() -> None:
    ((inputs, _),) = batched(EXAMPLES, Batching(10, normalization="half"))
    assert torch.allclose(inputs, IMAGES.float() / 127.5 - 1, atol=1e-6)


BATCH = (torch.zeros(2, 5), torch.zeros(2))


@pytest.mark.parametrize(
    "batches",
    [[BATCH, BATCH], (list(BATCH),), DataLoader(TensorDataset(*BATCH)), [(np.zeros((2, 5)), np.zeros(2))]],
    ids=["list", "tuple", "loader", "numpy"],
)
def test_re_iterables_pass_through(batches: Any) -> None:  # noqa: ANN401
    data = passed_through("mine", batches)
    assert data.shape == (5,)
    assert len(data) == len(batches) == len(list(data)) == len(list(data))
    assert all(isinstance(part, torch.Tensor) for batch in data for part in batch)
    assert data.examples is None


def test_something_without_a_length_has_none() -> None:
    class Stream:
        def __iter__(self) -> Iterator[Any]:
            yield BATCH

    data = passed_through("stream", Stream())
    assert len(list(data)) == 1
    with pytest.raises(TypeError, match="has no length"):
        len(data)


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        (iter([BATCH]), "it can be gone through once only"),
        ((batch for batch in [BATCH]), "it can be gone through once only"),
        ([], "it has no batch"),
        ([torch.zeros(2)], "a batch is a Tensor, no pair"),
        ([(torch.zeros(2),)], "a batch is a tuple of 1, no pair"),
        ([{"x": 1, "y": 2}], "a batch is a dict of 2, no pair"),
        ([(torch.zeros(2), torch.zeros(3))], "not as many inputs as targets"),
        ([(torch.zeros(2), 1)], "not as many inputs as targets"),
        ([(torch.tensor(1), torch.tensor(1))], "not as many inputs as targets"),
    ],
)
def test_what_is_no_batches_is_refused(batches: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(SourceError, match=words):
        passed_through("mine", batches)


def test_a_bad_batch_later_is_an_error_when_it_comes() -> None:
    data = passed_through("mine", [BATCH, (1, 2)])
    with pytest.raises(SourceError, match="as two tensors"):
        list(data)
