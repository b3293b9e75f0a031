"""A `.keras` archive: a zip of a network's configuration, its weights as HDF5, and a few words about both.

Weights that lie in it uncompressed, as Keras writes them, are read where they are. Compressed ones are unpacked into a
temporary file of bounded size, which goes when the last of its tensors' headers does.

**Source:** `keras.src.saving.saving_lib`. Classes that the configuration names are read as text and never looked up.
"""

from __future__ import annotations

import os
import tempfile
import weakref
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.hdf5.hdf5_file import BOMB_RATIO, BOMB_SIZE, Part, list_hdf5
from weightatlas.checkpoints.hdf5.keras3 import open_keras3
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.checkpoints.zipped import data_offset, open_archive
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.contents import Contents
    from weightatlas.checkpoints.places.blob import Blob

WEIGHTS: Final = "model.weights.h5"
CONFIG: Final = "config.json"
METADATA: Final = "metadata.json"
CONFIG_LIMIT: Final = 16 * 2**20
PIECE: Final = 2**20


def detect_keras_archive(blob: Blob, head: bytes) -> bool:
    """Whether a file is a zip that holds a network's weights by Keras's name for them."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    with open_archive(blob) as archive:
        return WEIGHTS in archive.namelist()


def open_keras_archive(blob: Blob) -> Contents:
    """List the weights of a `.keras` archive, in the order of its network.

    Raises:
        SourceError: the archive or a member of it is truncated, corrupt or would unpack to very much more than it is.
    """
    with open_archive(blob) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        for name in (WEIGHTS, CONFIG, METADATA):
            if names.count(name) > 1:
                raise SourceError(blob.name, f"two of its members are called {name}", REMEDY)
        config = _read_json(blob, archive, CONFIG)
        about = _read_json(blob, archive, METADATA)
        part = _weights(blob, archive, archive.getinfo(WEIGHTS))
    metadata = {name: text for name, text in about.items() if isinstance(text, str)} if isinstance(about, dict) else {}
    return open_keras3(list_hdf5(part), config, metadata=metadata)


def _read_json(blob: Blob, archive: zipfile.ZipFile, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    if name not in archive.namelist():
        return None
    with archive.open(name) as file:
        text = file.read(CONFIG_LIMIT + 1)
    if len(text) > CONFIG_LIMIT:
        raise SourceError(blob.name, f"its {name} has more than {CONFIG_LIMIT} bytes", "do not use this checkpoint")
    return bounded_json(text, blob.name, f"its {name}")


def _weights(blob: Blob, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Part:
    if member.flag_bits & 1:
        raise SourceError(blob.name, "its weights are encrypted", "give an archive without a password")
    if member.compress_type == zipfile.ZIP_STORED:
        _check_length(blob.name, member.compress_size, member.file_size)
        return Part(blob, data_offset(blob, member), member.file_size)
    if member.file_size > BOMB_SIZE and member.file_size > BOMB_RATIO * member.compress_size:
        problem = f"its weights would unpack to {member.file_size} bytes from {member.compress_size}"
        raise SourceError(blob.name, problem, "do not use this checkpoint")
    unpacked = _unpack(archive, member, blob.name)
    return Part(unpacked, 0, unpacked.size)


class _TemporaryBlob(LocalBlob):
    """A file that is removed with the last reference to it; messages call it by the archive it came from."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path)
        self.name = name
        weakref.finalize(self, _remove, path, os.getpid())


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked process ends too, and the file is not its own
        path.unlink(missing_ok=True)


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> _TemporaryBlob:
    handle, text = tempfile.mkstemp(prefix="weightatlas-", suffix=".h5")
    path = Path(text)
    try:
        with os.fdopen(handle, "wb") as target, archive.open(member) as source:
            written = _copy(source, target, member.file_size)
        _check_length(name, written, member.file_size)
        return _TemporaryBlob(path, name)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy all that comes, up to a piece more than the limit; how much it was."""
    written = 0
    while written <= limit and (piece := source.read(PIECE)):
        written += target.write(piece)
    return written


def _check_length(name: str, length: int, promised: int) -> None:
    if length != promised:
        raise SourceError(name, "its weights are not as long as it says", REMEDY)
