from __future__ import annotations

from pathlib import Path

import pytest

from weightatlas.errors import SourceError
from weightatlas.recording.record_file import TAIL, RecordFile, file_of_rank, lines_of, parsed

RECORD = "weather of a training"


OTHERS = (b"notes\n", b'{"step": 1}\n', b"[1]\n", b"\xff\xfe", b"[" * 200_000)


def begun(path: Path, at: int = 0) -> RecordFile:
    file = RecordFile(path, RECORD)
    file.begin({"at": at})
    return file


def test_lines_are_appended_and_the_last_step_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a" / "change.jsonl"
    file = begun(path)
    assert file.last_step is None
    file.append([{"step": 1}, {"step": 2, "ratio": float("nan")}])
    file.close()
    assert [parsed(line) for line in path.read_bytes().splitlines()[1:]] == [{"step": 1}, {"step": 2, "ratio": None}]
    again = RecordFile(path, RECORD)
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
    again = RecordFile(path, RECORD)
    assert again.last_step == 7
    again.close()


def test_other_files_are_left_as_they_are(tmp_path: Path) -> None:
    for number, content in enumerate((*OTHERS, b'{"record": "singularities of a training"}\n')):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="no record of the weather of a training; name another file"):
            RecordFile(path, RECORD)
        assert path.read_bytes() == content


def test_what_a_rolled_back_training_recorded_is_not_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "change.jsonl"
    file = begun(path)
    file.append([{"step": step} for step in (2, 4, 6, 8)])
    file.close()
    for at, last in ((5, 4), (3, 2), (7, 2), (1, None)):
        begun(path, at).close()  # and killed before its first row
        again = RecordFile(path, RECORD)
        assert again.last_step == last
        again.close()
    file = begun(path, 1)
    file.append([{"step": 3}])
    file.close()
    again = RecordFile(path, RECORD)
    assert again.last_step == 3
    again.close()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        RecordFile(tmp_path, RECORD)
    with pytest.raises(SourceError, match="cannot be read"):
        list(lines_of(tmp_path))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(SourceError, match="cannot be written"):
        RecordFile(tmp_path / "notes" / "change.jsonl", RECORD)


def test_each_process_with_shards_has_a_file_beside() -> None:
    assert file_of_rank(Path("a/change.jsonl"), 12) == Path("a/change.rank12.jsonl")
    assert file_of_rank(Path("change"), 0) == Path("change.rank0")
