from __future__ import annotations

import pytest
import torch

from weightatlas.data import NoSplitError, modular_addition_examples
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_data


def sums(split: str, *, p: int = 11, fraction: float = 0.3, seed: int = 0) -> set[tuple[int, int]]:
    examples = modular_addition_examples(p=p, fraction=fraction, seed=seed, split=split)
    inputs, _ = examples.fetch(torch.arange(len(examples)))
    return {(int(first), int(second)) for first, second in inputs[:, :2].tolist()}


@pytest.mark.parametrize("p", [2, 10, 11])
def test_the_splits_share_no_sum_and_have_all_between_them(p: int) -> None:
    trained, tested = (sums(split, p=p, fraction=0.5) for split in ("train", "test"))
    assert not trained & tested
    assert trained | tested == {(first, second) for first in range(p) for second in range(p)}
    assert len(trained) == p * p // 2


def test_the_answer_is_the_sum_modulo_p_and_the_last_symbol_is_p() -> None:
    examples = modular_addition_examples(p=7, fraction=0.5, split="test")
    inputs, _ = examples.fetch(torch.arange(len(examples)))
    for (first, second, equals), answer in zip(inputs.tolist(), examples.targets.tolist(), strict=True):
        assert (first + second) % 7 == answer
        assert equals == 7
    assert examples.classes == tuple("0123456")


def test_the_seed_decides_which_sums_are_trained_on() -> None:
    assert sums("train", seed=1) == sums("train", seed=1) != sums("train", seed=2)


def test_it_is_opened_by_name_with_its_options() -> None:
    data = open_data("modular-addition?p=53&fraction=0.3", batch_size=100)
    assert (data.examples, data.shape) == (842, (3,))
    rest = open_data("modular-addition?p=53&fraction=0.3&split=test")
    assert (data.examples or 0) + (rest.examples or 0) == 53 * 53
    assert open_data("modular-addition").examples == 3830  # the published size and share


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("fraction=1", "fraction=1"),
        ("fraction=1.5", "fraction=1.5"),
        ("p=1", "p must be 2 or more"),
        ("p=0", "p=0"),
        ("p=2&fraction=0.1", "leaves one split empty"),
        ("difficulty=hard", "it takes no difficulty"),
    ],
)
def test_options_without_a_meaning_are_refused(query: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        open_data(f"modular-addition?{query}")


def test_there_is_no_third_split() -> None:
    with pytest.raises(NoSplitError, match="validation"):
        modular_addition_examples(split="validation")
