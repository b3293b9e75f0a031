from __future__ import annotations

import pytest

from weightatlas.data.splits import choose_split
from weightatlas.errors import SourceError


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        (["test", "train"], None, "train"),
        (["validation"], None, "validation"),
        (["test", "train"], "test", "test"),
        (["training", "val"], "train", "training"),
        (["training", "val"], None, "training"),
        (["train", "validation"], "dev", "validation"),
        (["part_a", "part_b"], "part_b", "part_b"),
    ],
)
def test_the_split_that_is_meant(there: list[str], wanted: str | None, chosen: str) -> None:
    assert choose_split("data", there, wanted) == chosen


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        (["a", "b"], None, "several splits and none called train; there is a, b"),
        (["train"], "test", "no split 'test'; there is train"),
        (["val", "valid"], "validation", "no split 'validation'; there is val, valid"),
    ],
)
def test_a_split_that_is_not_there_is_said(there: list[str], wanted: str | None, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        choose_split("data", there, wanted)
