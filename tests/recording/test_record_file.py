from __future__ import annotations

from pathlib import Path

import pytest

from weightatlas.change.recording.record_file import TAIL, RecordFile, file_of_rank, parsed
from weightatlas.errors import SourceError


def begun(path: Path) -> RecordFile:
    file = RecordFile(path)
    file.begin({"at": 0})
    return file


def test_lines_are_appended_and_the_last_step_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a" / "change.jsonl"
    file = begun(path)
    assert file.last_step is None
    file.append([{"step": 1}, {"step": 2, "ratio": float("nan")}])
    file.close()
    assert [parsed(line) for line in path.read_bytes().splitlines()[1:]] == [{"step": 1}, {"step": 2, "ratio": None}]
    again = RecordFile(path)
    assert again.last_step == 2
    again.close()


def test_after_a_torn_line_a_new_one_begins(tmp_path: Path) -> None:
    path = tmp_path / "change.jsonl"
    file = begun(path)
    file.append([{"step": 1}])
    file.close()
    with path.open("ab") as torn:
        torn.write(b'{"step": 2, "rat')
    file = begun(path)
    assert file.last_step == 1
    file.append([{"step": 3}])
    file.close()
    read = [parsed(line) for line in path.read_bytes().splitlines()]
    assert [None if row is None else row.get("step", "header") for row in read] == ["header", 1, None, "header", 3]


def test_the_last_step_is_found_behind_much_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "change.jsonl"
    file = begun(path)
    file.append([{"step": 7}, {"note": "x" * 3 * TAIL}])
    file.close()
    again = RecordFile(path)
    assert again.last_step == 7
    again.close()


def test_other_files_are_left_as_they_are(tmp_path: Path) -> None:
    for number, content in enumerate((b"notes\n", b'{"step": 1}\n', b"[1]\n", b"\xff\xfe")):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="no record of a training's weight change; name another file"):
            RecordFile(path)
        assert path.read_bytes() == content


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        RecordFile(tmp_path)


def test_each_process_with_shards_has_a_file_beside() -> None:
    assert file_of_rank(Path("a/change.jsonl"), 12) == Path("a/change.rank12.jsonl")
    assert file_of_rank(Path("change"), 0) == Path("change.rank0")
