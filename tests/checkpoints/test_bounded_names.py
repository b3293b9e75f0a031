from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints import bounded_names, open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, names: list[str]) -> None:
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps(dict.fromkeys(names, entry)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 1001, "its name has 1001 characters, more than 1000"),
        ("a." * 51 + "weight", "its name has 51 dots, more than 50"),
    ],
)
def test_a_name_that_no_network_has_is_a_row_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / "net.safetensors"
    write(path, ["conv1.weight", name])
    checkpoint = open_checkpoint(path)
    assert list(checkpoint) == ["conv1.weight"]
    assert [entry.reason for entry in checkpoint.skipped] == [reason]
    assert name.startswith(checkpoint.skipped[0].name)


def test_a_name_with_half_a_character_is_a_row_that_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write(path, ["conv1.weight", "conv\ud800.weight"])
    checkpoint = open_checkpoint(path)
    assert list(checkpoint) == ["conv1.weight"]
    assert checkpoint.skipped[0].name == r"conv\ud800.weight"
    assert "UTF-8" in checkpoint.skipped[0].reason


def test_the_longest_and_deepest_names_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    names = ["x" * 1000, "a." * 50 + "weight"]
    write(path, names)
    assert sorted(open_checkpoint(path)) == sorted(names)


def test_more_tensors_than_any_network_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_names, "COUNT_LIMIT", 3)
    path = tmp_path / "net.safetensors"
    write(path, ["a", "b", "c"])
    assert len(open_checkpoint(path)) == 3
    write(path, ["a", "b", "c", "d"])
    with pytest.raises(SourceError, match="holds 4 tensors, more than 3"):
        open_checkpoint(path)
