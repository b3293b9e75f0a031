"""What was recorded while a training ran, read back: the files of several processes added up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.change.changes import FIGURES, Changes, LayerChange
from weightatlas.change.recording.record_reading import Recorded, RecordedFile, Tensor, Values, read_file
from weightatlas.change.recording.record_rows import SPOILT
from weightatlas.change.summing.sums import figures
from weightatlas.checkpoints import Skipped
from weightatlas.errors import SourceError
from weightatlas.recording.record_file import file_of_rank
from weightatlas.wording import counted, number

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from weightatlas.change.summing.sums import ChangeStatistics

NOT_RECORDED: Final = "not recorded at this step"


def read_records(path: str | os.PathLike[str]) -> Changes:
    """Read what a `Recorder` wrote.

    Files of processes that hold shards are added up; a tensor has figures at the steps at which all of it was recorded.
    Of a step that was recorded twice, since the training was resumed from an earlier one, the later record counts, and
    what the first attempt recorded after that step is left out. Lines that a crash cut short are left out too. `notes`
    and `skipped` say so.

    Args:
        path: as it was given to the recorder; it may still be written to.

    Returns:
        The result that a survey of checkpoints gives, without trends.

    Raises:
        SourceError: there is no such file, it is none of a recorder's, or nothing was recorded yet.
    """
    place = Path(path)
    files = [read_file(file) for file in _files(place)]
    if not files:
        raise SourceError(place, "no such file", "name the file that was given to the recorder")
    tensors = {name: tensor for file in files for name, tensor in file.tensors.items()}
    steps = tuple(sorted({step for file in files for step in file.rows}))
    if not steps:
        raise SourceError(place, "nothing was recorded yet", "wait for the first record")
    layers = tuple(_layer(name, tensor, steps, files) for name, tensor in tensors.items())
    skipped = {key: entry for file in files for key, entry in file.skipped.items()}
    return Changes(
        str(path),
        "step",
        steps,
        tuple(_since(step, files) for step in steps),
        layers,
        skipped=(*skipped.values(), *(_spoilt(file) for file in files if file.spoilt)),
        notes=tuple(dict.fromkeys(note for file in files for note in (*file.notes, *_repeated(file)))),
    )


def _files(path: Path) -> list[Path]:
    """The file itself, and those beside it of processes with shards, in the order of their numbers."""
    head = file_of_rank(path, 0).name.removesuffix(f"0{path.suffix}")
    ranks: dict[int, Path] = {}
    for file in path.parent.iterdir() if path.parent.is_dir() else ():
        number = file.name.removeprefix(head).removesuffix(path.suffix)
        if number.isdecimal() and file == file_of_rank(path, int(number)):
            ranks[int(number)] = file
    return [*([path] if path.is_file() else []), *(ranks[rank] for rank in sorted(ranks))]


def _since(step: int, files: Sequence[RecordedFile]) -> int:
    """The step before, as most rows say."""
    said = [row.since for file in files for row in file.rows.get(step, {}).values()]
    return max(said, key=lambda since: (said.count(since), since))


def _layer(name: str, tensor: Tensor, steps: Sequence[int], files: Sequence[RecordedFile]) -> LayerChange:
    values = np.full((len(steps), len(FIGURES)), np.nan)
    reasons: dict[int, str] = {}
    for place, step in enumerate(steps):
        rows = [file.rows[step][name] for file in files if name in file.rows.get(step, {})]
        found, reason = _together(rows, math.prod(tensor.shape))
        if found is not None:
            values[place] = found
        if reason is not None:
            reasons[place] = reason
    columns = {figure: values[:, column].copy() for column, figure in enumerate(FIGURES)}
    return LayerChange(tensor.layer, name, tensor.role, tensor.shape, columns, reasons)


def _together(rows: Sequence[Recorded], elements: int) -> tuple[Values | None, str | None]:
    """The figures that the rows of a tensor at a step amount to, or why there are none."""
    shards: dict[tuple[int, int], list[Recorded]] = {}
    for row in rows:
        if row.values is not None:
            return row.values, None
        if row.sums is not None:  # of trainings of other numbers of processes, one resumed the other
            shards.setdefault((row.since, row.session.ranks), []).append(row)
    reasons = [row.skipped for row in rows if row.skipped is not None]
    if reasons:
        return None, reasons[0]
    if not shards:
        return None, NOT_RECORDED
    parts = min(shards.values(), key=lambda parts: abs(elements - _elements(parts)))
    if _elements(parts) != elements:
        who = "one process" if len(parts) == 1 else f"{number(len(parts))} processes"
        return None, f"only {_elements(parts):,} of its {elements:,} weights were recorded at this step, by {who}"
    return _added(parts, elements)


def _elements(parts: Sequence[Recorded]) -> int:
    return sum(part.elements for part in parts)


def _added(parts: Sequence[Recorded], elements: int) -> tuple[Values, str | None]:
    found = figures(
        np.sum([part.sums for part in parts if part.sums is not None], axis=0),
        elements,
        zero=parts[0].session.zero,
        with_previous=all(part.knows_previous for part in parts if part.elements),
        with_start=all(part.session.with_start for part in parts if part.elements),
    )
    values = _in_order(found)
    if any(part.is_rounded for part in parts):
        values = tuple(math.nan if name in SPOILT else value for name, value in zip(FIGURES, values, strict=True))
    return values, found.skipped


def _in_order(found: ChangeStatistics) -> Values:
    values = (getattr(found, name) for name in FIGURES)
    return tuple(math.nan if value is None else float(value) for value in values)


def _spoilt(file: RecordedFile) -> Skipped:
    lines = counted(file.spoilt, "line")
    return Skipped(file.path.name, f"{lines} could not be read: cut short by a crash, or damaged")


def _repeated(file: RecordedFile) -> list[str]:
    if not file.repeated:
        return []
    first, last = min(file.repeated), max(file.repeated)
    which = f"step {first:,} was" if first == last else f"steps {first:,} to {last:,} were"
    return [f"{which} recorded and then trained anew; the later records count"]
