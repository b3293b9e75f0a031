"""The Python version of CIFAR: pickles of dictionaries with one numpy array, read as data and never loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.checkpoints.pickles.pickle_records import Call, Extent
from weightatlas.checkpoints.pickles.pickled import read_pickle
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

PIXELS: Final = 3 * 32 * 32
ADMITTED: Final = frozenset(
    f"{module}.{name}"
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "ndarray", "dtype")
)
BYTES: Final = ("u1", "|u1", "uint8")
_KEYS: Final = {"": "labels", "fine": "fine_labels", "coarse": "coarse_labels"}


def read_batch(path: Path, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 3, 32, 32) of bytes and labels (n,), int64, of one batch.

    Args:
        path: a file such as `data_batch_1`.
        kind: which labels: "", "fine" or "coarse".

    Raises:
        SourceError: it is truncated or corrupt, asks for anything but a numpy array, or is no batch of CIFAR.
    """
    blob = LocalBlob(path)
    with untrusted(path, "no batch of CIFAR"):
        batch = read_pickle(blob, admitted=ADMITTED).value
        if not isinstance(batch, dict):
            message = f"a pickle of a {type(batch).__name__}"
            raise TypeError(message)
        extent, count = _array(batch["data"])
        labels = batch[_KEYS[kind]]
        if not isinstance(labels, list) or len(labels) != count or any(type(label) is not int for label in labels):
            raise SourceError(path, f"not one label for each of its {count} images", "download it again")
        memory = bytearray(blob.read(extent.offset, extent.length))
    images = torch.frombuffer(memory, dtype=torch.uint8).reshape(count, 3, 32, 32)
    return images, torch.tensor(labels, dtype=torch.int64)


def read_names(path: Path, key: str) -> tuple[str, ...] | None:
    """The names of the classes, or None where there are none.

    Raises:
        SourceError: the file that should hold them is corrupt.
    """
    if not path.is_file():
        return None
    with untrusted(path, "no list of CIFAR's classes"):
        found = read_pickle(LocalBlob(path), admitted=ADMITTED).value
        names = found.get(key) if isinstance(found, dict) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _array(record: object) -> tuple[Extent, int]:
    """Where the bytes of the array lie, and of how many images they are."""
    state: Any = record.state if isinstance(record, Call) and record.path.endswith("._reconstruct") else None
    _, shape, dtype, fortran, content = state
    count, width = shape
    kind = dtype.arguments[0] if isinstance(dtype, Call) and dtype.path.endswith(".dtype") else None
    whole = isinstance(content, Extent) and type(count) is int and content.length == count * width
    if kind not in BYTES or width != PIXELS or fortran or not whole or count < 1:
        message = "its data is no array of bytes with 3072 columns"
        raise ValueError(message)
    return content, count
