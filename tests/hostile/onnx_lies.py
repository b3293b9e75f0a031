"""ONNX files that lie, in the wire format of protocol buffers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tests.hostile.case import Content, Hostile, written

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "model.onnx"
MODEL_GRAPH: Final = 7
GRAPH_INITIALIZER: Final = 5
RAW: Final = struct.pack("<4f", 1, 2, 3, 4)


def varint(value: int, *, pad: int = 0) -> bytes:
    """A varint, perhaps with more bytes than it needs."""
    data = bytearray()
    value &= 2**64 - 1
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    if pad:
        data[-1] |= 128
        data += b"\x80" * (pad - 1) + b"\0"
    return bytes(data)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes, *, length: int | None = None) -> bytes:
    """A length-delimited field; the length may lie."""
    return varint(field << 3 | 2) + varint(len(data) if length is None else length) + data


def tensor(
    dims: tuple[int, ...] = (2, 2), kind: int = 1, name: str = "conv1.weight", raw: bytes = RAW, more: bytes = b""
) -> bytes:
    """A TensorProto; four floats unless told otherwise."""
    sizes = b"".join(number(1, size) for size in dims)
    return sizes + number(2, kind) + block(8, name.encode()) + (block(9, raw) if raw else b"") + more


def model(*tensors: bytes, graph: bytes = b"", more: bytes = b"") -> bytes:
    """A ModelProto around initialisers."""
    inner = block(2, b"graph") + b"".join(block(GRAPH_INITIALIZER, data) for data in tensors) + graph
    return number(1, 8) + block(2, b"pytorch") + block(8, number(2, 17)) + block(MODEL_GRAPH, inner) + more


def external(location: str, offset: int | str = 0, length: int | str = 16) -> bytes:
    """A model whose one tensor lies in another file."""
    pairs = {"location": location, "offset": str(offset), "length": str(length)}
    entries = b"".join(block(13, block(1, key.encode()) + block(2, value.encode())) for key, value in pairs.items())
    return model(tensor(raw=b"", more=entries + number(14, 1)))


def _beside(content: bytes) -> Content:
    """The same file, with the data that it may name beside it."""

    def build(folder: Path) -> bytes:
        (folder / "weights.bin").write_bytes(RAW)
        (folder.parent / "outside.bin").write_bytes(RAW)
        return content

    return build


def _linked(folder: Path) -> bytes:
    (folder.parent / "outside.bin").write_bytes(RAW)
    (folder / "weights.bin").symlink_to("../outside.bin")
    return external("weights.bin")


WORDS: Final = (
    r"onnx|corrupt|truncated|claims|bytes|type|twice|outside|link|missing|offset|length|shape|negative|no tensors"
    r"|no format|another format|protobuf|varint|fill|shorter"
)

LIES: Final[dict[str, Content]] = {
    "a tensor of 2^60 elements": model(tensor((2**30, 2**30))),
    "a tensor whose size overflows 64 bits": model(tensor((2**62, 2**62))),
    "a negative size": model(tensor((-2, -2))),
    "fewer bytes than its shape": model(tensor(raw=RAW[:7])),
    "more bytes than its shape": model(tensor(raw=RAW * 2)),
    "an unknown type": model(tensor(kind=999)),
    "a tensor without a type": model(number(1, 4) + block(8, b"a") + block(9, RAW)),
    "a tensor without data": model(tensor(raw=b"")),
    "a graph of 2^60 bytes": number(1, 8) + block(2, b"x") + block(MODEL_GRAPH, tensor(), length=2**60),
    "a tensor of 2^60 bytes": model(graph=block(GRAPH_INITIALIZER, tensor(), length=2**60)),
    "data of 2^63 bytes": model(tensor(raw=b"", more=block(9, RAW, length=2**63))),
    "a name of 2^40 bytes": model(tensor(more=block(8, b"x", length=2**40))),
    "an overlong number": number(1, 8) + varint(MODEL_GRAPH << 3 | 2) + varint(0, pad=20),
    "a number that never ends": number(1, 8) + varint(MODEL_GRAPH << 3 | 2) + b"\xff" * 64,
    "an old group": model(tensor(), more=varint(900 << 3 | 3) * 1000),
    "a wire type that is none": model(tensor(), more=varint(900 << 3 | 7)),
    "a field of number zero": model(tensor(), more=varint(2) + varint(0)),
    "sizes of a wrong wire type": model(block(1, b"\xff\xff") + number(2, 1) + block(8, b"a") + block(9, RAW)),
    "the same name twice": model(tensor(), tensor()),
    "ten thousand sizes": model(tensor((1,) * 10_000, raw=RAW[:4])),
    "data in a file that is missing": external("gone.bin"),
    "data in a file outside": _beside(external("../outside.bin")),
    "data by an absolute path": external("/etc/passwd"),
    "data by a path of Windows": external("C:\\secret.bin"),
    "data through a link": _linked,
    "data at 2^60": _beside(external("weights.bin", offset=2**60)),
    "data at a negative byte": _beside(external("weights.bin", offset=-16)),
    "data at a byte that is no number": _beside(external("weights.bin", offset="1e3")),
    "data of 2^60 bytes elsewhere": _beside(external("weights.bin", length=2**60)),
    "data in a device": external("/dev/zero"),
    "data in a file without a name": external(""),
    "no graph": number(1, 8) + block(2, b"pytorch") + block(8, number(2, 17)),
    "no tensors": model(),
}
MAY_BE_LISTED: Final = frozenset({"ten thousand sizes", "an old group"})


def cases() -> list[Hostile]:
    """All of them."""
    return [
        Hostile(f"{name}, ONNX", written(FILE, data), WORDS + ("|^$" if name in MAY_BE_LISTED else ""))
        for name, data in LIES.items()
    ]
