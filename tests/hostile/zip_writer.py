"""Zip archives whose every field may lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STORED: Final = 0
DEFLATED: Final = 8


@dataclass(frozen=True, slots=True)
class Member:
    """One member; whatever is None is told truly.

    Attributes:
        name: in the directory.
        data: unpacked.
        method: how it is packed.
        packed: the bytes that are written, where they are not `data` packed by the method.
        size: what the directory says of its unpacked size.
        packed_size: what the directory says of its packed size.
        crc: its checksum in the directory.
        offset: where the directory says it is.
        local_name: its name in its own header.
        flags: of the directory; 1 is encrypted.
        extra: the extra field of the directory's entry.
    """

    name: str
    data: bytes = b""
    method: int = STORED
    packed: bytes | None = None
    size: int | None = None
    packed_size: int | None = None
    crc: int | None = None
    offset: int | None = None
    local_name: str | None = None
    flags: int = 0
    extra: bytes = b""


def archive(
    members: Sequence[Member],
    *,
    entries: int | None = None,
    directory_size: int | None = None,
    directory_offset: int | None = None,
    comment: bytes = b"",
) -> bytes:
    """An archive of these members; the fields of its end may be given."""
    body, directory = bytearray(), bytearray()
    for member in members:
        place = len(body)
        packed = _packed(member)
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        size = len(member.data) if member.size is None else member.size
        packed_size = len(packed) if member.packed_size is None else member.packed_size
        local = (member.name if member.local_name is None else member.local_name).encode()
        sizes = (crc, min(packed_size, 2**32 - 1), min(size, 2**32 - 1))
        flags = member.flags | 0x800  # names are UTF-8
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, member.method, 0, 33, *sizes, len(local), 0) + local
        body += packed
        name = member.name.encode()
        directory += struct.pack("<4s6H3I", b"PK\1\2", 20, 20, flags, member.method, 0, 33, *sizes)
        offset = place if member.offset is None else member.offset
        directory += struct.pack("<5H2I", len(name), len(member.extra), 0, 0, 0, 0, offset) + name + member.extra
    count = min(len(members) if entries is None else entries, 65535)
    size = len(directory) if directory_size is None else directory_size
    offset = len(body) if directory_offset is None else directory_offset
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, offset, len(comment)) + comment
    return bytes(body + directory) + end


def _packed(member: Member) -> bytes:
    if member.packed is not None:
        return member.packed
    if member.method == DEFLATED:
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(member.data) + packer.flush()
    return member.data


def deflated_zeros(size: int, head: bytes = b"") -> bytes:
    """A deflate stream of some bytes and then zeros, made in no time: one piece of 16 MB, repeated."""
    piece = 2**24
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = size - len(head)
    last = packer.compress(bytes(zeros % piece)) + packer.flush()
    return first + again * (zeros // piece) + last
