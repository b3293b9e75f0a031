"""One file of a recorder, read: headers, rows, and what a crash or a resumed training left between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt

from weightatlas.change.changes import FIGURES
from weightatlas.change.summing.sums import SUMS, Zero
from weightatlas.checkpoints import Skipped
from weightatlas.errors import SourceError
from weightatlas.recording.record_file import lines_of, not_a_record, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORD: Final = "weight change of a training"
"""What the first line says under `record`; a line that says it again begins a resumed training."""

Values = tuple[float, ...]
"""The figures of a tensor at a step, in the order of `FIGURES`."""


class Tensor(NamedTuple):
    """What a header says of a tensor."""

    layer: str
    role: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What one training, or one resumption of it, recorded in a file.

    Attributes:
        rank: of the process.
        ranks: how many there were.
        at: the step that it began at.
        with_start: whether sums know the first weights.
        zero: what `elementwise` does with weights of 0.
    """

    rank: int
    ranks: int
    at: int
    with_start: bool
    zero: Zero


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A row: the figures of a tensor, or the sums over what one process holds of it.

    Attributes:
        session: that it belongs to.
        since: the step of the record before.
        values: the figures; None where the row has sums.
        sums: the sums; None where it has figures.
        elements: that the sums are over.
        knows_previous: whether they know the update before.
        is_rounded: whether weights were rounded to be kept.
        skipped: why there are neither.
    """

    session: Session
    since: int
    values: Values | None = None
    sums: npt.NDArray[np.float64] | None = None
    elements: int = 0
    knows_previous: bool = False
    is_rounded: bool = False
    skipped: str | None = None


@dataclass(slots=True, eq=False)
class RecordedFile:
    """All of a file.

    Attributes:
        path: of the file.
        tensors: by name, in the order of the network.
        rows: by step and tensor.
        skipped: parameters that were left out.
        notes: what was undone in names.
        spoilt: lines that are no rows.
        repeated: steps that were recorded anew.
    """

    path: Path
    tensors: dict[str, Tensor] = field(default_factory=dict)
    rows: dict[int, dict[str, Recorded]] = field(default_factory=dict)
    skipped: dict[tuple[str, str], Skipped] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    spoilt: int = 0
    repeated: set[int] = field(default_factory=set)


def read_file(path: Path) -> RecordedFile:
    """Read one file of a recorder; an empty one holds nothing.

    Where a training was resumed, what had been recorded after the step that it was resumed from is dropped.

    Raises:
        SourceError: it cannot be read, or is none of a recorder's.
    """
    found = RecordedFile(path)
    session: Session | None = None
    for line in lines_of(path):
        row = parsed(line)
        if row is not None and row.get("record") == RECORD:
            session = _begun(found, row)
        elif session is None:
            raise not_a_record(path, RECORD)
        elif row is None or not _take(found, session, row):
            found.spoilt += bool(line.strip())
    return found


def _begun(found: RecordedFile, header: Mapping[str, Any]) -> Session:
    """Take a header, and drop what its training will record anew."""
    try:
        session = Session(
            int(header["rank"]),
            int(header["ranks"]),
            int(header["at"]),
            bool(header["with_start"]),
            cast("Zero", get_args(Zero)[get_args(Zero).index(header["zero"])]),
        )
        for tensor in header["tensors"]:
            shape = tuple(int(length) for length in tensor["shape"])
            found.tensors[str(tensor["tensor"])] = Tensor(str(tensor["layer"]), str(tensor["role"]), shape)
        for entry in header["skipped"]:
            skipped = Skipped(str(entry["name"]), str(entry["reason"]))
            found.skipped[skipped.name, skipped.reason] = skipped
        found.notes |= dict.fromkeys(map(str, header["notes"]))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"its header is not what it should be ({error})"
        raise SourceError(found.path, problem, "it was written by another version, or damaged: record anew") from error
    for step in [step for step in found.rows if step > session.at]:
        del found.rows[step]
        found.repeated.add(step)
    return session


def _take(found: RecordedFile, session: Session, row: Mapping[str, Any]) -> bool:
    """Keep a row; whether it was one."""
    try:
        step, tensor = int(row["step"]), str(row["tensor"])
        recorded = _recorded(session, row)
    except (KeyError, TypeError, ValueError):
        return False
    if tensor not in found.tensors:
        return False
    if tensor in found.rows.setdefault(step, {}):
        found.repeated.add(step)
    found.rows[step][tensor] = recorded
    return True


def _recorded(session: Session, row: Mapping[str, Any]) -> Recorded:
    since = int(row["since"])
    if row["skipped"] is not None:
        return Recorded(session, since, skipped=str(row["skipped"]))
    if "sums" not in row:
        return Recorded(session, since, values=tuple(_number(row[name]) for name in FIGURES))
    sums = np.array([_number(value) for value in row["sums"]])
    if sums.shape != (SUMS,):
        raise ValueError(sums.shape)
    return Recorded(
        session,
        since,
        sums=sums,
        elements=int(row["elements"]),
        knows_previous=bool(row["knows_previous"]),
        is_rounded=bool(row["is_rounded"]),
    )


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(value)
