from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.data.splits import NoSplitError
from weightatlas.data.text import read_text
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text") / "text.txt"


@settings(max_examples=30, deadline=None)
@given(text=st.text(min_size=60, max_size=300), context=st.integers(1, 5))
def test_the_splits_are_the_text_cut_in_two(place: Path, text: str, context: int) -> None:
    content = text.encode("utf-8", "replace")
    place.write_bytes(content)
    train, test = (read_text(place, split=split, context=context) for split in ("train", "test"))
    pieces = (len(content) - 1) // context
    assert (len(train) + len(test), len(test)) == (pieces, pieces // 10)
    inputs = torch.cat([part.fetch(torch.arange(len(part)))[0] for part in (train, test)])
    targets = torch.cat([train.targets, test.targets])
    assert bytes(inputs.byte().ravel().tolist()) == content[: pieces * context]
    assert bytes(targets.ravel().tolist()) == content[1 : pieces * context + 1]


def test_training_is_the_default_and_symbols_are_bytes(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("naïve " * 40, encoding="utf-8")
    examples = read_text(path, context=8)
    assert examples.split == "train"
    assert examples.classes is not None
    assert (len(examples.classes), examples.classes[ord("n")], examples.classes[0xC3]) == (256, "n", "0xc3")
    assert 0xC3 in examples.targets


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"\xff" * 1000, {}, "no UTF-8 text"),
        (b"short", {}, "too few for 10 pieces of 64"),
        (b"", {"context": 1}, "too few"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, options: dict[str, Any], message: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_text(path, **options)


def test_a_folder_and_a_split_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file"):
        read_text(tmp_path)
    path = tmp_path / "text.txt"
    path.write_text("a" * 1000, encoding="utf-8")
    with pytest.raises(NoSplitError):
        read_text(path, split="val")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a" * 1000, encoding="utf-8")
    monkeypatch.setattr("weightatlas.data.text.LARGEST", 999)
    with pytest.raises(SourceError, match="1,000 bytes, more than 999"):
        read_text(path)
