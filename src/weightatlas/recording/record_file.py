"""The file that a training is recorded in: lines of JSON, appended; a crash spoils the last alone."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.errors import SourceError
from weightatlas.result import json_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

    from weightatlas.result import Row

FORM: Final = 1

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

TAIL: Final = 1 << 16
"""Bytes from the end in which the last whole line is looked for first."""

GIVEN: Final = "name the file that was given to the recorder"
"""What to do where a record is read and another file was named."""


class RecordFile:
    """Rows of one process, appended in whole lines behind headers; a header begins a training, or resumes it.

    Attributes:
        path: of the file.
        last_step: of the rows that are there already and count; None where there is none.

    Args:
        path: of the file; it and its folder are made if they are not there.
        record: what is recorded, as headers say it under `record`: "weight change of a training".

    Raises:
        SourceError: there is something else under this name, or it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], record: str) -> None:
        self.path, self._record = Path(path), record
        self.last_step = self._last_step()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO | None = self.path.open("ab", buffering=0)
            self._torn = self._file.tell() > 0 and not self._ends_whole()
        except OSError as error:
            problem = f"cannot be written ({os.strerror(error.errno or 0)})"
            raise SourceError(self.path, problem, "name another file") from error

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write what the lines that follow are; after a line that a crash cut short, on a new one.

        Args:
            header: its `at` is the step that the training stands at: rows of later ones, before it, count no longer.

        Raises:
            SourceError: it cannot be written.
        """
        line = json.dumps({"record": self._record, "form": FORM, **header}, allow_nan=False)
        self._write((b"\n" if self._torn else b"") + line.encode() + b"\n")

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows, all at once.

        Raises:
            SourceError: the disk is full, or the file cannot be written any longer.
        """
        self._write("".join(json_line(row) + "\n" for row in rows).encode())

    def close(self) -> None:
        """Close the file; what was written is there."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, lines: bytes) -> None:
        try:
            left = memoryview(lines)
            while left and self._file is not None:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            number = error.errno or 0
            reason = "no space is left for it" if number in FULL else f"cannot be written ({os.strerror(number)})"
            raise SourceError(self.path, reason, "make room: what was recorded before is whole") from error

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _last_step(self) -> int | None:
        """The step of the last whole row that counts; None where there is no file, or none yet."""
        try:
            if not self.path.exists() or not self.path.stat().st_size:
                return None
            with self.path.open("rb") as file:
                header = parsed(file.readline())
                if header is None or header.get("record") != self._record:
                    raise not_a_record(self.path, self._record, "name another file")
                size = self.path.stat().st_size
                reach = TAIL
                while True:
                    file.seek(max(0, size - reach))
                    step = _last_of(file.read())
                    if step is not None or reach >= size:
                        return step
                    reach *= 16
        except OSError as error:
            raise _unreadable(self.path, error) from error


def lines_of(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Give the lines of a file.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            yield from file
    except OSError as error:
        raise _unreadable(path, error) from error


def parsed(line: bytes) -> dict[str, Any] | None:
    """Give the object of a line; None where a crash has left none, or where the line is another file's.

    Example:
        >>> parsed(b'{"step": 1}'), parsed(b'{"ste')
        ({'step': 1}, None)
    """
    try:
        value = json.loads(line)
    except (RecursionError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def file_of_rank(path: Path, rank: int) -> Path:
    """Give the file beside `path` of a process that holds shards.

    Example:
        >>> file_of_rank(Path("runs/change.jsonl"), 3).name
        'change.rank3.jsonl'
    """
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def not_a_record(path: str | os.PathLike[str], record: str, remedy: str = GIVEN) -> SourceError:
    """Say of a file that it is no record of this kind.

    Example:
        >>> str(not_a_record("notes.txt", "weight change of a training"))
        'notes.txt: it is no record of the weight change of a training; name the file that was given to the recorder'
    """
    return SourceError(path, f"it is no record of the {record}", remedy)


def _unreadable(path: str | os.PathLike[str], error: OSError) -> SourceError:
    return SourceError(path, f"cannot be read ({os.strerror(error.errno or 0)})", "name a file that can be")


def _last_of(tail: bytes) -> int | None:
    """The step of the last row, but for those that a header behind them has superseded."""
    stands_at = math.inf
    for line in reversed(tail.split(b"\n")):
        row = parsed(line) or {}
        step, at = row.get("step"), row.get("at")
        if isinstance(step, int) and step <= stands_at:
            return step
        if "record" in row and isinstance(at, int):
            stands_at = min(stands_at, at)
    return None
