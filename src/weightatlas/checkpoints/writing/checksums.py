"""The checksums of a zip archive whose members were given other bytes where they lie."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.places.slice_blob import SliceBlob
from weightatlas.checkpoints.zipped import data_offset, open_archive

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

START: Final = b"PK\x03\x04"
_ENTRY: Final = b"PK\x01\x02"
_DESCRIPTOR: Final = b"PK\x07\x08"
_ENTRY_LENGTH: Final = 46
_PIECE: Final = 2**20
_IN_DESCRIPTOR: Final = 8
"""The flag of a member whose checksum stands behind its bytes."""


def repair_checksums(path: Path, begin: int, length: int, touched: Sequence[tuple[int, int]]) -> None:
    """Compute the checksums of members anew where their bytes were changed; no more than a look if it is no archive.

    Args:
        path: the file.
        begin: the archive's first byte.
        length: of the archive, in bytes.
        touched: first and last byte, the latter not included, of each change.

    **Source:** the fields `crc-32` of the local header, the data descriptor and the central directory in PKWARE's
    APPNOTE.TXT, 4.3.
    """
    archive = SliceBlob(LocalBlob(path), begin, length)
    if archive.read(0, min(len(START), length)) != START:
        return
    with open_archive(archive) as opened:
        members, directory = opened.infolist(), opened.start_dir
    found = [(member, data_offset(archive, member)) for member in members]
    with path.open("r+b") as file:
        position = begin + directory
        for member, start in found:
            first, last = begin + start, begin + start + member.compress_size
            if any(one < last and first < other for one, other in touched):
                _repair(file, member, begin + member.header_offset, (first, last), position)
            position += _entry_length(file, position)


def _entry_length(file: BinaryIO, position: int) -> int:
    file.seek(position)
    entry = file.read(_ENTRY_LENGTH)
    if not entry.startswith(_ENTRY):
        message = "the directory of the archive is not where it says"
        raise ValueError(message)
    name, extra, comment = struct.unpack("<HHH", entry[28:34])
    return _ENTRY_LENGTH + int(name) + int(extra) + int(comment)


def _repair(file: BinaryIO, member: zipfile.ZipInfo, header: int, data: tuple[int, int], entry: int) -> None:
    checksum = struct.pack("<I", _checksum(file, *data))
    places = [entry + 16]
    if member.flag_bits & _IN_DESCRIPTOR:
        file.seek(data[1])
        signed = file.read(len(_DESCRIPTOR)) == _DESCRIPTOR
        places.append(data[1] + (len(_DESCRIPTOR) if signed else 0))
    else:
        places.append(header + 14)
    for place in places:
        file.seek(place)
        file.write(checksum)


def _checksum(file: BinaryIO, start: int, stop: int) -> int:
    file.seek(start)
    value = 0
    while start < stop:
        piece = file.read(min(_PIECE, stop - start))
        value = zlib.crc32(piece, value)
        start += len(piece)
    return value
