from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from weightatlas.data import NoSplitError, digit_examples, digit_pair_examples
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_data


def test_the_splits_are_all_digits_each_once() -> None:
    found = load_digits()
    parts = [digit_examples(split=split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [1437, 360]
    images = torch.cat([part.fetch(torch.arange(len(part)))[0].flatten(1) for part in parts])
    mine = sorted((images * 16).to(torch.int64).tolist())
    assert mine == sorted(found.data.astype(int).tolist())


def test_images_keep_their_targets() -> None:
    found = load_digits()
    tested = digit_examples(split="test")
    inputs, _ = tested.fetch(torch.tensor([3]))
    assert (inputs[0, 0] * 16).tolist() == found.images[15].tolist()
    assert int(tested.targets[3]) == found.target[15]


def test_every_digit_is_the_first_of_a_pair_and_the_second_of_another() -> None:
    single, pairs = digit_examples(), digit_pair_examples(seed=3)
    everything = torch.arange(len(single))
    alone, together = single.fetch(everything)[0][:, 0], pairs.fetch(everything)[0]
    assert torch.equal(together[:, 0], alone)
    assert sorted(together[:, 1].flatten(1).tolist()) == sorted(alone.flatten(1).tolist())
    assert not torch.equal(together[:, 1], alone)
    place = next(number for number in range(len(single)) if torch.equal(alone[number], together[5, 1]))
    assert int(pairs.targets[5, 1]) == int(single.targets[place])


def test_the_seed_decides_the_pairs() -> None:
    first, again, other = (digit_pair_examples(seed=seed).targets for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_they_are_opened_by_name() -> None:
    assert open_data("digits?split=test").examples == 360
    assert open_data("digits?split=train").shape == (1, 8, 8)
    inputs, targets = next(iter(open_data("digit-pairs", batch_size=5)))
    assert (inputs.shape, targets.shape) == ((5, 2, 8, 8), (5, 2))
    with pytest.raises(SourceError, match="it takes no size"):
        open_data("digits?size=4")
    with pytest.raises(NoSplitError, match="validation"):
        open_data("digit-pairs?split=validation")
