from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from weightatlas.data.language import CHANCES, SYMBOLS, Difficulty, Language, language_examples
from weightatlas.data.splits import NoSplitError

ORDERS: list[tuple[Difficulty, int]] = [("easy", 1), ("medium", 2), ("hard", 3)]


def contexts(
    texts: np.ndarray[tuple[int, int], np.dtype[np.int64]], order: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of what precedes each symbol but the first few, read as digits."""
    windows = np.lib.stride_tricks.sliding_window_view(texts[:, :-1], order, axis=1)
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = (windows @ (8 ** np.arange(order)[::-1])).ravel()
    return found


@pytest.mark.parametrize(("difficulty", "order"), ORDERS)
def test_symbols_follow_the_law_with_its_chances_and_nothing_else(difficulty: Difficulty, order: int) -> None:
    language = Language(difficulty, seed=3)
    texts = language.draw(4000, 40, split="train")
    law = language.law()
    assert law.shape == (8**order, 4)
    assert all(len(set(row)) == 4 for row in law.tolist())
    following = texts[:, order:].ravel()
    places = (law[contexts(texts, order)] == following[:, None]).argmax(axis=1)
    assert (law[contexts(texts, order), places] == following).all()
    counts = np.bincount(places, minlength=4)
    expected = len(following) * np.array(CHANCES)
    assert ((counts - expected) ** 2 / expected).sum() < 16.3, "chi-squared, 3 degrees of freedom, p = .001"
    first = np.bincount(texts[:, :order].ravel(), minlength=8)
    assert ((first - first.sum() / 8) ** 2 / (first.sum() / 8)).sum() < 24.4, "uniform: 7 degrees of freedom, p = .001"


@pytest.mark.parametrize(("difficulty", "order"), ORDERS)
def test_the_best_predictor_has_the_lowest_loss(difficulty: Difficulty, order: int) -> None:
    language = Language(difficulty, seed=1)
    texts = language.draw(2000, 65, split="test")
    places = (language.law()[contexts(texts, order)] == texts[:, order:].ravel()[:, None]).argmax(axis=1)
    known = -np.log(np.array(CHANCES)[places]).reshape(2000, -1)
    free = np.full((2000, order - 1), math.log(8))
    losses = np.concatenate([free, known], axis=1)
    assert losses.shape == (2000, 64)
    assert float(losses.mean()) == pytest.approx(
        language.lowest_loss(64), abs=4 * float(known.std()) / math.sqrt(known.size)
    )
    assert language.entropy == pytest.approx(1.75 * math.log(2))


def test_a_shorter_memory_does_not_tell_the_next_symbol() -> None:
    """Of a chain of order 2, what the last symbol alone tells leaves much more than the entropy."""
    texts = Language("medium", seed=0).draw(4000, 40, split="train")
    pairs = np.zeros((8, 8))
    np.add.at(pairs, (texts[:, 1:-1].ravel(), texts[:, 2:].ravel()), 1)
    joint = pairs / pairs.sum()
    conditional = -(joint * np.log(joint / joint.sum(axis=1, keepdims=True))).sum()
    assert conditional > Language("medium").entropy + 0.3


def test_seeds_and_splits_have_texts_of_their_own_and_one_law_a_seed() -> None:
    language = Language("medium", seed=5)
    train, test = (language.draw(8, 30, split=split) for split in ("train", "test"))
    assert np.array_equal(train, language.draw(8, 30, split="train"))
    assert not np.array_equal(train, test)
    assert not np.array_equal(language.law(), Language("medium", seed=6).law())
    assert np.array_equal(language.law(), Language("medium", seed=5).law())


def test_examples_ask_every_position_for_the_next() -> None:
    examples = language_examples(difficulty="medium", seed=2, split="test", context=16)
    inputs, read = examples.fetch(torch.arange(len(examples)))
    assert (inputs.shape, inputs.dtype, examples.targets.dtype) == ((2048, 16), torch.float32, torch.int64)
    assert torch.equal(read, torch.arange(2048))
    whole = torch.from_numpy(Language("medium", 2).draw(2048, 17, split="test"))
    assert torch.equal(inputs.long(), whole[:, :-1])
    assert torch.equal(examples.targets, whole[:, 1:])
    assert (examples.classes, examples.split, len(language_examples())) == (tuple(SYMBOLS), "test", 16_384)


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(NoSplitError):
        language_examples(split="extra")
    with pytest.raises(ValueError, match="difficulty must be one of easy, medium, hard"):
        language_examples(difficulty="harder")  # type: ignore[arg-type]
