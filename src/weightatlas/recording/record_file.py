"""The file that a training's change is recorded in: lines of JSON, appended; a crash spoils the last alone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.errors import SourceError
from weightatlas.result import json_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

    from weightatlas.result import Row

RECORD: Final = "weight change of a training"
"""What the first line says under `record`; a line that says it again begins a resumed training."""

FORM: Final = 1

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

TAIL: Final = 1 << 16
"""Bytes from the end in which the last whole line is looked for first."""


class RecordFile:
    """Rows of one process, appended in whole lines.

    Args:
        path: of the file; it and its folder are made if they are not there.

    Raises:
        SourceError: there is something else under this name, or it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
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

        Raises:
            SourceError: it cannot be written.
        """
        line = json.dumps({"record": RECORD, "form": FORM, **header}, allow_nan=False)
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
        """The step of the last whole row; None where there is no file, or none yet."""
        try:
            if not self.path.exists() or not self.path.stat().st_size:
                return None
            with self.path.open("rb") as file:
                header = parsed(file.readline())
                if header is None or header.get("record") != RECORD:
                    problem = "it is no record of a training's weight change"
                    raise SourceError(self.path, problem, "name another file")
                size = self.path.stat().st_size
                reach = TAIL
                while True:
                    file.seek(max(0, size - reach))
                    step = _last_of(file.read())
                    if step is not None or reach >= size:
                        return step
                    reach *= 16
        except OSError as error:
            problem = f"cannot be read ({os.strerror(error.errno or 0)})"
            raise SourceError(self.path, problem, "name another file") from error


def parsed(line: bytes) -> dict[str, Any] | None:
    """Give the object of a line; None where a crash has left none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def file_of_rank(path: Path, rank: int) -> Path:
    """Give the file beside `path` of a process that holds shards.

    Example:
        >>> file_of_rank(Path("runs/change.jsonl"), 3).name
        'change.rank3.jsonl'
    """
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def _last_of(tail: bytes) -> int | None:
    for line in reversed(tail.split(b"\n")):
        row = parsed(line)
        step = None if row is None else row.get("step")
        if isinstance(step, int):
            return step
    return None
