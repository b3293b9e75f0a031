"""The file that a training's singularities are recorded in: lines of JSON, appended; a crash spoils the last alone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.errors import SourceError
from weightatlas.result import json_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from weightatlas.result import Row

RECORD: Final = "singularities of a training"
"""What the first line says under `record`; a line that says it again begins a resumed training."""

FORM: Final = 1

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RecordFile:
    """Rows appended in whole lines.

    Attributes:
        path: of the file.
        last_step: of the rows that are there already; None where there is none.

    Args:
        path: of the file; it and its folder are made if they are not there.

    Raises:
        SourceError: there is something else under this name, or it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        there = self.path.exists() and self.path.stat().st_size > 0
        self.last_step = max((row["step"] for row in read_rows(self.path)), default=None) if there else None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO | None = self.path.open("ab", buffering=0)
            self._torn = there and not self.path.read_bytes().endswith(b"\n")
        except OSError as error:
            problem = f"cannot be written ({os.strerror(error.errno or 0)})"
            raise SourceError(self.path, problem, "name another file") from error

    def begin(self, at: int) -> None:
        """Say that what follows is of a training that stands at a step; rows of later steps before it are superseded.

        Raises:
            SourceError: it cannot be written.
        """
        line = json.dumps({"record": RECORD, "form": FORM, "at": at})
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
            reason = "no space is left for it" if number in _FULL else f"cannot be written ({os.strerror(number)})"
            raise SourceError(self.path, reason, "make room: what was recorded before is whole") from error


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Read what a `Recorder` has written: rows in the order of steps, those of a rolled-back training left out.

    A line that a crash cut short is none.

    Raises:
        SourceError: the file cannot be read, or is no such record.
    """
    try:
        lines = _parsed(Path(path).read_bytes().split(b"\n"))
    except OSError as error:
        problem = f"cannot be read ({os.strerror(error.errno or 0)})"
        raise SourceError(path, problem, "name another file") from error
    rows: list[Row] = []
    is_record = False
    for line in lines:
        if line.get("record") == RECORD:
            is_record, at = True, line.get("at")
            rows = [row for row in rows if isinstance(at, int) and row["step"] <= at]
        elif is_record and isinstance(line.get("step"), int):
            rows.append(line)
    if not is_record:
        problem = "it is no record of a training's singularities"
        raise SourceError(path, problem, "name a file that a Recorder of weightatlas.conditioning has written")
    return rows


def _parsed(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
