"""What a training's singularities were recorded as, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.recording.record_file import lines_of, not_a_record, parsed

if TYPE_CHECKING:
    import os

    from weightatlas.result import Row

RECORD: Final = "singularities of a training"
"""What the first line says under `record`; a line that says it again begins a resumed training."""


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Read what a `Recorder` has written; an empty file holds nothing yet.

    A line that a crash cut short is none. Where a training was resumed from a step, rows of later ones before that are
    left out: they are of a training that was rolled back.

    Args:
        path: as it was given to the recorder; it may still be written to.

    Returns:
        The rows in the order of steps, as `Recorder.rows` has them.

    Raises:
        SourceError: the file cannot be read, or is no such record.
    """
    rows: list[Row] = []
    is_record = False
    for line in lines_of(path):
        row = parsed(line) or {}
        if row.get("record") == RECORD:
            is_record, at = True, row.get("at")
            rows = [kept for kept in rows if isinstance(at, int) and kept["step"] <= at]
        elif not is_record:
            raise not_a_record(path, RECORD)
        elif isinstance(row.get("step"), int):
            rows.append(row)
    return rows
