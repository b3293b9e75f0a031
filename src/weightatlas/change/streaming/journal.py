"""A survey's results as they come: lines appended to a file, from which an interrupted survey goes on."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from weightatlas.change.streaming.packed import Packed
from weightatlas.change.summing.sums import SUMS
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType
    from typing import BinaryIO, Self

FORM: Final = {"journal": "weight change", "form": 1}
"""The first line of every journal."""

FIRST: Final = json.dumps(FORM).encode() + b"\n"


class Stretch(NamedTuple):
    """What a line of a journal is about.

    Attributes:
        tensor: which.
        low: its first element.
        high: where the part ends.
        asked: what was measured.
    """

    tensor: str
    low: int
    high: int
    asked: str


class Journal:
    """What was measured of a run so far.

    A line is whole or it is not there: one that was cut short by a crash is left out when the journal is read, and the
    next begins on a line of its own. Several surveys may append to one journal.

    Args:
        path: of the file; None keeps nothing.

    Raises:
        SourceError: the file is something else than a journal, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self._known: dict[Stretch, dict[str, Packed]] = {}
        self._file: BinaryIO | None = None
        if self.path is not None:
            self._open(self.path)

    def known(self, stretch: Stretch) -> Mapping[str, Packed]:
        """Give what is known of a part of a tensor, by the identities of the checkpoints of each pair."""
        return self._known.get(stretch, {})

    def add(self, stretch: Stretch, pairs: Mapping[str, Packed]) -> None:
        """Append what the pairs of a part of a tensor came to, on one line.

        Raises:
            SourceError: it cannot be written, as where the disk is full.
        """
        if self._file is None or not pairs:
            return
        line: dict[str, Any] = {**stretch._asdict(), "pairs": list(pairs)}
        line["sums"] = [[_number(value) for value in each.sums.tolist()] for each in pairs.values()]
        line["bins"] = [None if each.bins is None else base64.b64encode(each.bins).decode() for each in pairs.values()]
        self._append(json.dumps(line, allow_nan=False).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        """Use it until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever ended the block."""
        self.close()

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            missing = self._read(path) if path.exists() else FIRST
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._append(missing)

    def _read(self, path: Path) -> bytes:
        """Take all lines, and say what a crash kept from being written at the end."""
        with path.open("rb") as lines:
            first = lines.readline(len(FIRST))
            if FIRST.startswith(first) and first != FIRST:
                return FIRST[len(first) :]
            if first != FIRST:
                raise SourceError(path, "is no journal of weight change", "give another file")
            last = first
            for line in lines:
                self._take(line)
                last = line
        return b"" if last.endswith(b"\n") else b"\n"

    def _append(self, line: bytes) -> None:
        """Write a line at once, so that two surveys of one run do not mix theirs."""
        if self._file is None or self.path is None:
            return
        try:
            written = self._file.write(line)
            while written < len(line):  # a disk that is nearly full takes some of it
                written += self._file.write(line[written:])
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _take(self, line: bytes) -> None:
        """Keep what a line says, if it is one of ours."""
        try:
            said = json.loads(line)
            stretch = Stretch(str(said["tensor"]), int(said["low"]), int(said["high"]), str(said["asked"]))
            pairs = list(zip(said["pairs"], said["sums"], said["bins"], strict=True))
            found = {str(pair): _packed(sums, bins) for pair, sums, bins in pairs}
        except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError):
            return
        self._known.setdefault(stretch, {}).update(found)


def _packed(sums: Any, bins: Any) -> Packed:  # noqa: ANN401 - JSON
    """What a pair came to, as a line says it.

    Raises:
        ValueError: it makes no sense.
    """
    values = np.array([float(value) for value in sums])
    if len(values) != SUMS:
        message = f"{len(values)} sums, not {SUMS}"
        raise ValueError(message)
    packed = Packed(values, None if bins is None else base64.b64decode(bins, validate=True))
    packed.unpacked()
    return packed


def _number(value: float) -> float | str:
    """A sum as JSON has it; what is not finite as text."""
    return value if math.isfinite(value) else str(value)


def _unwritable(path: Path, error: OSError) -> SourceError:
    return SourceError(path, f"cannot be written ({error.strerror or error})", "give another file")
