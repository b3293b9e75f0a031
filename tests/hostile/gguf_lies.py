"""GGUF files whose counts, lengths and offsets lie."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from tests.hostile.case import Content, Hostile, written

FILE: Final = "model.gguf"
ALIGNMENT: Final = 32


def text(value: str | bytes, *, length: int | None = None) -> bytes:
    """A string: its length in 64 bits, its bytes."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data) if length is None else length) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    """A key and its value, of a type."""
    return text(key) + struct.pack("<I", kind) + value


def info(name: str | bytes = "blk.0.weight", sizes: Sequence[int] = (2, 2), kind: int = 0, offset: int = 0) -> bytes:
    """One tensor's entry; four floats unless told otherwise."""
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def packed(
    infos: Sequence[bytes] = (info(),),
    pairs: Sequence[bytes] = (),
    *,
    data: bytes = bytes(16),
    tensors: int | None = None,
    keys: int | None = None,
    version: int = 3,
) -> bytes:
    """A file of any entries; the counts may lie."""
    counts = (len(infos) if tensors is None else tensors, len(pairs) if keys is None else keys)
    head = struct.pack("<4sI2Q", b"GGUF", version, *counts) + b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % ALIGNMENT) + data


ARRAY: Final = 9
STRING: Final = 8
WORDS: Final = r"gguf|corrupt|truncated|claims|type|offset|overlap|bytes|twice|too|deep|align|version|shape|lies"

LIES: Final[dict[str, Content]] = {
    "2^60 tensors": packed(tensors=2**60),
    "2^60 keys": packed(keys=2**60),
    "2^64 - 1 tensors and keys": packed(tensors=2**64 - 1, keys=2**64 - 1),
    "a key of 2^60 bytes": packed(pairs=[text("general", length=2**60)]),
    "a value of 2^60 bytes": packed(pairs=[pair("general.name", STRING, text("x", length=2**60))]),
    "an array of 2^60 values": packed(pairs=[pair("a", ARRAY, struct.pack("<IQ", 0, 2**60))]),
    "an array of 2^60 texts": packed(pairs=[pair("a", ARRAY, struct.pack("<IQ", STRING, 2**60))]),
    "an array of 2^60 empty arrays": packed(pairs=[pair("a", ARRAY, struct.pack("<IQ", ARRAY, 2**60))]),
    "ten thousand arrays in one another": lambda _: packed(
        pairs=[pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 10_000)]
    ),
    "a value of an unknown type": packed(pairs=[pair("a", 99, bytes(8))]),
    "a tensor of an unknown type": packed([info(kind=9999)]),
    "a tensor of 2^60 elements": packed([info(sizes=(2**30, 2**30))]),
    "a tensor whose size overflows 64 bits": packed([info(sizes=(2**63, 2**63))]),
    "a tensor of 2^32 - 1 axes": packed([text("a") + struct.pack("<I", 2**32 - 1) + bytes(64)]),
    "a tensor at 2^60": packed([info(offset=2**60)]),
    "a tensor beyond the end": packed([info(offset=32)]),
    "a tensor at an odd byte": packed([info(offset=3)], data=bytes(64)),
    "two tensors on the same bytes": packed([info("a"), info("b")]),
    "two tensors that overlap": packed([info("a", (8, 4)), info("b", offset=32)], data=bytes(256)),
    "the same name twice": packed([info("a"), info("a", offset=32)], data=bytes(64)),
    "the same key twice": packed(pairs=[pair("a", 4, bytes(4)), pair("a", 4, bytes(4))]),
    "an alignment of zero": packed(pairs=[pair("general.alignment", 4, struct.pack("<I", 0))]),
    "an alignment of 2^32 - 1": packed(pairs=[pair("general.alignment", 4, struct.pack("<I", 2**32 - 1))]),
    "an alignment that is text": packed(pairs=[pair("general.alignment", STRING, text("32"))]),
    "a version of 99": packed(version=99),
    "a version of zero": packed(version=0),
    "a name of a megabyte": lambda _: packed([info("x" * 2**20)]),
    "a name that is no UTF-8": packed([info(b"\xff\xfe")]),
    "nothing after its first bytes": b"GGUF",
}
MAY_BE_LISTED: Final = frozenset({"the same key twice", "a name that is no UTF-8", "an alignment that is text"})


def cases() -> list[Hostile]:
    """All of them."""
    return [
        Hostile(f"{name}, GGUF", written(FILE, data), WORDS + ("|^$" if name in MAY_BE_LISTED else ""))
        for name, data in LIES.items()
    ]
