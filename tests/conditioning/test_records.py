from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.conditioning.records import RECORD, read_rows
from weightatlas.errors import SourceError
from weightatlas.recording.record_file import RecordFile

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, at: int, *steps: int) -> None:
    file = RecordFile(path, RECORD)
    file.begin({"at": at})
    for step in steps:
        file.append([{"step": step, "layer": "conv", "dead": float("nan")}])
    file.close()


def test_rows_come_back_in_the_order_of_steps_without_those_that_were_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "run" / "record.jsonl"
    write(path, 0, 1, 2, 3)
    write(path, 1, 2)
    assert [row["step"] for row in read_rows(path)] == [1, 2]
    assert read_rows(path)[0]["dead"] is None, "JSON has no NaN"
    file = RecordFile(path, RECORD)
    file.close()
    assert file.last_step == 2


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_wherever_a_crash_cuts_the_last_line_the_others_stay_and_more_can_follow(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "record.jsonl"
    write(path, 0, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    left = [row["step"] for row in read_rows(path)]
    assert left in ([1], [1, 2])
    write(path, left[-1], 3)
    assert [row["step"] for row in read_rows(path)] == [*left, 3]


@pytest.mark.parametrize("content", [b"no json\n", b'{"step": 1}\n', b"[1, 2]\n"])
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no record of the singularities of a training; name the file that was given"):
        read_rows(path)


def test_a_file_that_is_not_there_cannot_be_read_and_one_that_was_not_begun_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_rows(tmp_path / "none.jsonl")
    RecordFile(tmp_path / "begun.jsonl", RECORD).close()
    assert read_rows(tmp_path / "begun.jsonl") == []
