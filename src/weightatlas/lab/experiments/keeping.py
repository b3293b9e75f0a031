"""What was measured of a finished run, kept beside it: the same code measures the same run once."""

from __future__ import annotations

import hashlib
import json
import platform
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

import weightatlas
from weightatlas.files import replacing
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.records import MANIFEST, RESULT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.lab.running import Run

ALONE: Final = "measured.npz"
TOGETHER: Final = "measured-with-partner.npz"
_FIGURES: Final = "figures"
_STAMP: Final = "stamp"
_ARRAY: Final = "array "


def measured_once(function: Callable[..., Measurement], runs: Sequence[Run], name: str) -> Measurement:
    """Measure finished runs, or read back what was measured of them before.

    A measurement is kept in the folder of the last run, with a stamp of all that it follows from: the function, each
    file of this package, the versions of Python, torch and NumPy, and the manifests and results of the runs. Another
    stamp, or a file that cannot be read, and it is made anew. What a function outside of this package measures is not
    kept, since nothing says when that function changes.

    Args:
        function: takes the runs.
        runs: finished.
        name: of the file: `ALONE` or `TOGETHER`.
    """
    place = runs[-1].folder / name
    stamp = _stamp(function, runs)
    if stamp is None:
        return function(*runs)
    found = _read(place, stamp)
    if found is None:
        found = function(*runs)
        _write(place, stamp, found)
    return found


def _stamp(function: Callable[..., Measurement], runs: Sequence[Run]) -> str | None:
    """What a measurement follows from, as one line; None where that is not known."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    facts = [one.folder / file for one in runs for file in (MANIFEST, RESULT)]
    if module.partition(".")[0] != weightatlas.__name__ or not name or not all(path.is_file() for path in facts):
        return None
    versions = [platform.python_version(), torch.__version__, np.__version__]
    return json.dumps([module, name, _code(), versions, *(_digest(path.read_bytes()) for path in facts)])


@cache
def _code() -> str:
    """The digest of each file of this package."""
    root = Path(weightatlas.__file__).parent
    files = sorted(path for path in root.rglob("*.py"))
    return _digest(b"".join(_digest(path.read_bytes()).encode() for path in files))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(place: Path, stamp: str) -> Measurement | None:
    """What is kept, where it bears that stamp."""
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if kept[_STAMP].item() != stamp:
                return None
            arrays = {key.removeprefix(_ARRAY): kept[key] for key in kept.files if key.startswith(_ARRAY)}
            return Measurement(json.loads(kept[_FIGURES].item()), arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(place: Path, stamp: str, found: Measurement) -> None:
    """Keep a measurement, where it can be written as plain numbers and text."""
    arrays: dict[str, Any] = {f"{_ARRAY}{key}": np.asarray(value) for key, value in found.arrays.items()}
    if any(array.dtype.hasobject for array in arrays.values()):
        return
    figures = {key: value.item() if isinstance(value, np.generic) else value for key, value in found.figures.items()}
    with replacing(place) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays | {_STAMP: np.array(stamp), _FIGURES: np.array(json.dumps(figures))})
