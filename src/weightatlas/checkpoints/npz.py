"""A numpy archive: a zip of `.npy` files. Headers are read without numpy; nothing is ever unpickled.

**Source:** the `.npy` format, versions 1 to 3, as numpy documents it.
"""

from __future__ import annotations

import ast
import math
import re
import struct
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header, Span
from weightatlas.checkpoints.dtypes import ITEM_SIZES, numpy_name
from weightatlas.checkpoints.mapped import from_bytes
from weightatlas.checkpoints.untrusted import REMEDY, summary
from weightatlas.checkpoints.zipped import data_offset, open_archive
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.places.blob import Blob

MAGIC: Final = b"\x93NUMPY"
VERSIONS: Final = (1, 2, 3)
HEADER_LIMIT: Final = 1_000_000
BOMB_SIZE: Final = 2**30
BOMB_RATIO: Final = 100
CHUNK: Final = 2**20
_HEADER = re.compile(r"\s*\{.*\}\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Member:
    """One array: where it is and what its own header says."""

    zipped: zipfile.ZipInfo
    dtype: str
    big_endian: bool
    fortran: bool
    shape: tuple[int, ...]
    header_size: int


def detect_npz(blob: Blob, head: bytes) -> bool:
    """Whether a file is a zip in which some member is a `.npy`."""
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return False
    with open_archive(blob) as archive:
        names = archive.namelist()
    return not names or any(name.endswith(".npy") for name in names)


def open_npz(blob: Blob) -> Contents:
    """List the arrays of an archive; a stored member is mapped on access, a deflated one unpacked alone.

    Raises:
        SourceError: the archive is truncated or corrupt, or holds nothing.
    """
    members: dict[str, _Member] = {}
    skipped: list[Skipped] = []
    headers: list[Header] = []
    with open_archive(blob) as archive:
        for zipped in archive.infolist():
            name = zipped.filename.removesuffix(".npy")
            if name in members:
                raise SourceError(blob.name, f"two of its members are called {name[:80]!r}", REMEDY)
            found = _read_member(archive, zipped)
            if isinstance(found, str):
                skipped.append(Skipped(name, found))
                continue
            members[name] = found
            key = name.replace("/", ".")
            span = _span(blob, found)
            headers.append(Header(name, key, found.shape, found.dtype, _size(found), blob.name, span))
    return Contents("npz", headers, lambda name: _unpack(blob, members[name]), skipped=skipped)


def _size(member: _Member) -> int:
    return math.prod(member.shape) * ITEM_SIZES[member.dtype]


def _read_member(archive: zipfile.ZipFile, zipped: zipfile.ZipInfo) -> _Member | str:
    """Read one member's header; a sentence instead where it is no array that torch can hold."""
    if not zipped.filename.endswith(".npy"):
        return "no .npy array"
    if zipped.flag_bits & 1:
        return "encrypted"
    try:
        with archive.open(zipped) as file:
            header, header_size = _read_header(file)
        return _checked(_parse_header(zipped, header, header_size))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        return str(error) if isinstance(error, _HeaderError) else f"its .npy header cannot be read ({summary(error)})"


class _HeaderError(ValueError):
    """An array is there and cannot be used; the message says why."""


def _parse_header(zipped: zipfile.ZipInfo, header: dict[str, object], header_size: int) -> _Member:
    descriptor, fortran, shape = header.get("descr"), header.get("fortran_order"), header.get("shape")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        message = "its .npy header gives no shape"
        raise _HeaderError(message)
    dtype = numpy_name(descriptor) if isinstance(descriptor, str) else None
    if dtype is None:
        message = f"its type {str(descriptor)[:40]!r} has no torch tensor (objects are never unpickled)"
        raise _HeaderError(message)
    return _Member(zipped, dtype, str(descriptor).startswith(">"), bool(fortran), shape, header_size)


def _checked(member: _Member) -> _Member:
    """Refuse a member that is not as long as its header says, and one that unpacks to very much more than it is."""
    zipped, message = member.zipped, ""
    if member.header_size + _size(member) != zipped.file_size:
        held = zipped.file_size - member.header_size
        message = f"its header promises {_size(member)} bytes, the archive holds {held}"
    elif zipped.file_size > BOMB_SIZE and zipped.file_size > BOMB_RATIO * zipped.compress_size:
        message = f"would unpack to {zipped.file_size} bytes from {zipped.compress_size}"
    if message:
        raise _HeaderError(message)
    return member


def _read_header(file: IO[bytes]) -> tuple[dict[str, object], int]:
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8 or start[6] not in VERSIONS:
        message = "no .npy file of version 1 to 3"
        raise ValueError(message)
    width = 2 if start[6] == 1 else 4
    length = struct.unpack("<H" if width == 2 else "<I", file.read(width).ljust(width, b"\0"))[0]
    if length > HEADER_LIMIT:
        message = "it is too long"
        raise ValueError(message)
    text = file.read(length).decode("latin-1" if start[6] < 3 else "utf-8")
    header = ast.literal_eval(text.strip()) if _HEADER.fullmatch(text) else None
    if not isinstance(header, dict):
        message = "it is no dictionary"
        raise TypeError(message)
    return header, 8 + width + length


def _span(blob: Blob, member: _Member) -> Span | None:
    """Where a stored member's elements lie; None for one that has to be unpacked."""
    if member.zipped.compress_type != zipfile.ZIP_STORED:
        return None
    offset = data_offset(blob, member.zipped) + member.header_size
    return Span(blob, offset, _strides(member), big_endian=member.big_endian)


def _strides(member: _Member) -> tuple[int, ...] | None:
    return tuple(math.prod(member.shape[:axis]) for axis in range(len(member.shape))) if member.fortran else None


def _unpack(blob: Blob, member: _Member) -> torch.Tensor:
    shape = member.shape[::-1] if member.fortran else member.shape
    memory = bytearray(_size(member))
    with open_archive(blob) as archive, archive.open(member.zipped) as file:
        file.read(member.header_size)
        _fill(memory, file)
    array = from_bytes(memory, shape, member.dtype, big_endian=member.big_endian)
    return array.permute(*reversed(range(len(shape)))) if member.fortran else array


def _fill(memory: bytearray, file: IO[bytes]) -> None:
    view, position = memoryview(memory), 0
    while piece := file.read(CHUNK):
        if position + len(piece) > len(memory):
            break
        view[position : position + len(piece)] = piece
        position += len(piece)
    if piece or position != len(memory):
        message = "the member does not end where its header says"
        raise ValueError(message)
