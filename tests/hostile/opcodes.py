"""A small assembler of pickles: each function gives the opcodes that push one value."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

STOP: Final = b"."


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def line(value: str) -> bytes:
    """UNICODE, the text form of protocol 0."""
    return b"V" + value.encode("raw-unicode-escape") + b"\n"


def integer(value: int) -> bytes:
    """BININT, or LONG1 where that is too short."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def named(module: str, name: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def stacked(module: str, name: str) -> bytes:
    """STACK_GLOBAL, of protocol 4."""
    return text(module) + text(name) + b"\x93"


def several(*values: bytes) -> bytes:
    """A tuple of any length: MARK ... TUPLE."""
    return b"(" + b"".join(values) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    """REDUCE."""
    return function + several(*arguments) + b"R"


def listed(*values: bytes) -> bytes:
    """A list: EMPTY_LIST MARK ... APPENDS."""
    return b"](" + b"".join(values) + b"e"


def mapping(items: Mapping[str, bytes]) -> bytes:
    """A dictionary of text keys: EMPTY_DICT MARK ... SETITEMS."""
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def kept(identity: bytes) -> bytes:
    """BINPERSID: an object kept outside the pickle."""
    return identity + b"Q"


def storage(key: str = "0", count: int = 4, kind: str = "FloatStorage") -> bytes:
    """A storage as torch keeps it."""
    return kept(several(text("storage"), named("torch", kind), text(key), text("cpu"), integer(count)))


def tensor(
    *,
    shape: tuple[int, ...] = (2, 2),
    strides: tuple[int, ...] | None = (2, 1),
    offset: int = 0,
    held: bytes | None = None,
    rebuild: bytes = named("torch._utils", "_rebuild_tensor_v2"),
    hooks: bytes = named("collections", "OrderedDict") + b")R",
) -> bytes:
    """A tensor as torch writes it; four floats, two by two, unless told otherwise."""
    steps = several(*map(integer, strides)) if strides is not None else b"N"
    parts = (held or storage(), integer(offset), several(*map(integer, shape)), steps, b"\x89", hooks)
    return call(rebuild, *parts)


def whole(value: bytes, protocol: int = 2) -> bytes:
    """A complete pickle."""
    return (b"\x80" + bytes([protocol]) if protocol > 1 else b"") + value + STOP
