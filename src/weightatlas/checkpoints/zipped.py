"""Zip archives that hold tensors: a directory of bounded size, members that do not share bytes, and where they lie."""

from __future__ import annotations

import struct
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.untrusted import REMEDY, untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.checkpoints.places.blob import Blob

DIRECTORY_LIMIT: Final = 32 * 2**20
LOCAL_HEADER: Final = 30
_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"


@contextmanager
def open_archive(blob: Blob) -> Iterator[zipfile.ZipFile]:
    """Open a blob as a zip archive.

    Raises:
        SourceError: it is truncated or corrupt, its directory would fill memory, or two members share bytes.
    """
    with untrusted(blob.name, "a truncated or corrupt zip archive"), blob.open() as file:
        _check_directory(blob)
        with zipfile.ZipFile(file) as archive:
            _check_overlaps(blob, archive)
            yield archive


def data_offset(blob: Blob, member: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: its local header has a name and an extra field of its own length.

    Raises:
        ValueError: there is no local header where the directory says.
    """
    local = blob.read(member.header_offset, LOCAL_HEADER)
    if not local.startswith(b"PK\x03\x04"):
        message = "a member is not where the archive says"
        raise ValueError(message)
    name_length, extra_length = struct.unpack("<HH", local[26:30])
    start = member.header_offset + LOCAL_HEADER + int(name_length) + int(extra_length)
    if start + member.compress_size > blob.size:
        message = "a member ends after the archive does"
        raise ValueError(message)
    return start


def _check_directory(blob: Blob) -> None:
    """Refuse a directory of more than 32 MB before it is read: an entry becomes ten times its size in memory."""
    tail = blob.read(max(0, blob.size - 65557), min(blob.size, 65557))  # the end record and the longest comment
    place = tail.rfind(_END)
    if place < 0 or len(tail) < place + 22:
        message = "it has no end"
        raise ValueError(message)
    size = int(struct.unpack("<I", tail[place + 12 : place + 16])[0])
    if size == 0xFFFFFFFF:
        place = tail.rfind(_END64, 0, place)
        size = int(struct.unpack("<Q", tail[place + 40 : place + 48])[0]) if place >= 0 else 0
    if size > DIRECTORY_LIMIT:
        raise SourceError(blob.name, f"its zip directory claims {size} bytes", "do not use this checkpoint")


def _check_overlaps(blob: Blob, archive: zipfile.ZipFile) -> None:
    end = 0
    for member in sorted(archive.infolist(), key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise SourceError(blob.name, f"two members share bytes, {member.filename[:80]!r} is one", REMEDY)
        end = member.header_offset + LOCAL_HEADER + member.compress_size
