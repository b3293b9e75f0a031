"""Safetensors files whose header lies."""

from __future__ import annotations

import json
import struct
from typing import Final

from tests.hostile.case import Content, Hostile, written

FILE: Final = "model.safetensors"


def packed(header: object, data: int = 16, *, length: int | None = None) -> bytes:
    """A file of any header, an object or its bytes, and so many bytes of tensors; the length may lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def entry(shape: object = (2, 2), offsets: object = (0, 16), dtype: object = "F32") -> dict[str, object]:
    """One tensor's entry; four floats unless told otherwise."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def _one(shape: object = (2, 2), offsets: object = (0, 16), dtype: object = "F32") -> bytes:
    return packed({"conv1.weight": entry(shape, offsets, dtype)})


SIZE: Final = r"shape|sizes|fill|bytes|truncated|corrupt"
RANGE: Final = r"range|overlap|gap|truncated|follow|corrupt|fill"
JSON: Final = r"header|json|parts|corrupt|stands twice|truncated"

LIES: Final[dict[str, tuple[Content, str]]] = {
    "a header of 2^60 bytes": (packed({}, length=2**60), r"header|truncated|100 MB|content is not"),
    "a header of 2^64 - 1 bytes": (packed({}, length=2**64 - 1), r"header|truncated|100 MB|content is not"),
    "a header one byte longer than the file": (packed({}, 0, length=3), r"header|truncated|content is not"),
    "a header of no bytes": (packed(b"", 0), r"content is not|empty|header|truncated|zeros"),
    "a tensor of 2^60 elements": (_one((2**30, 2**30)), SIZE),
    "a tensor whose size overflows 64 bits": (_one((2**40, 2**40)), SIZE),
    "a tensor that claims 2^62 bytes": (_one((2**30, 2**30), (0, 2**62)), SIZE),
    "offsets of 2^64": (_one(offsets=(0, 2**64)), RANGE),
    "offsets that run backwards": (_one(offsets=(16, 0)), RANGE),
    "negative offsets": (_one(offsets=(-16, 0)), RANGE),
    "offsets of text": (_one(offsets=("0", "16")), RANGE),
    "three offsets": (_one(offsets=(0, 8, 16)), RANGE),
    "offsets that are fractions": (_one(offsets=(0.0, 16.0)), RANGE),
    "overlapping tensors": (packed({"a": entry(), "b": entry(offsets=(8, 24))}, 24), RANGE),
    "two tensors on the same bytes": (packed({"a": entry(), "b": entry()}), RANGE),
    "a gap between tensors": (packed({"a": entry(), "b": entry(offsets=(32, 48))}, 48), RANGE),
    "a gap before the first tensor": (packed({"a": entry(offsets=(16, 32))}, 32), RANGE),
    "bytes after the last tensor": (packed({"a": entry()}, 999), RANGE),
    "tensors beyond the end": (packed({"a": entry()}, 8), RANGE),
    "a negative size": (_one((-2, -2)), SIZE),
    "a size that is a boolean": (_one((True, 4)), SIZE),
    "a size that is a fraction": (_one((2.0, 2)), SIZE),
    "a size that is text": (_one(("2", 2)), SIZE),
    "a size that is null": (_one((None, 2)), SIZE),
    "a size that is not a number": (packed(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'), SIZE),
    "a size that is infinite": (packed(b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,16]}}'), SIZE),
    "a size of ten thousand digits": (
        packed(b'{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,16]}}' % (b"9" * 10_000)),
        rf"{SIZE}|header",
    ),
    "a shape that is a number": (_one(4), SIZE),
    "a shape that is a dictionary": (_one({"0": 4}), SIZE),
    "an unknown type": (_one(dtype="F31"), r"no torch tensor|type"),
    "a type that is a number": (_one(dtype=32), r"dtype|type"),
    "a type that is a list": (_one(dtype=["F32"]), r"dtype|type"),
    "a type of four bits": (_one((4, 8), dtype="F4"), r"no torch tensor|type"),
    "the same name twice": (
        packed(
            b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}}'
        ),
        r"stands twice",
    ),
    "a key of an entry twice": (
        packed(b'{"a":{"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        r"stands twice",
    ),
    "an entry without a shape": (packed({"a": {"dtype": "F32", "data_offsets": [0, 16]}}), r"missing"),
    "an entry that is a list": (packed({"a": [1, 2]}), r"missing|lies"),
    "an entry that is null": (packed({"a": None}), r"missing|lies"),
    "metadata that are a list": (packed({"__metadata__": [1], "a": entry()}), JSON),
    "metadata alone": (packed({"__metadata__": {"format": "pt"}}, 0), r"no tensors"),
    "no tensors": (packed(b"{}      ", 0), r"no tensors"),
    "a header that is a list": (packed(b"[1, 2, 3]"), r"content is not|header"),
    "lists a thousand deep": (packed(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"), rf"{JSON}|missing"),
    "lists a million deep": (lambda _: packed(b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"), JSON),
    "ten million brackets": (lambda _: packed(b'{"a":[' + b"[]," * 9_999_999 + b"[]]}"), JSON),
    "ten million keys of one object": (lambda _: packed(b'{"a":{' + b'"":0,' * 5_000_000 + b'"":0}}'), JSON),
    "a header that is no UTF-8": (packed(b'{"\xff\xfe": 1}'), JSON),
    "a header with text after it": (packed(b'{} {"a": 1}'), JSON),
    "a header cut in half": (packed(json.dumps({"a": entry()}).encode()[:20]), JSON),
    "a header of single quotes": (packed(b"{'a': 1}"), JSON),
}

NAMES: Final[dict[str, str]] = {
    "a name with markup": "<script>alert(1)</script><img src=x onerror=alert(1)>.weight",
    "a name with control characters": "conv\x1b[2J\x07\r\n\x00\x9b31m1.weight",
    "a name that turns the text around": "conv\u202e\u2066thgiew.weight",
    "a name of ten thousand characters": "x" * 10_000 + ".weight",
    "a name of ten thousand dots": "." * 10_000,
    "a name with half a character": "conv\ud800.weight",
    "a name that is a formula": '=HYPERLINK("http://example.invalid","x")',
    "a name with rich's markup": "[red]conv[/red][link=http://example.invalid]x[/link]",
    "a name with a path": "../../../etc/passwd",
    "an empty name": "",
    "a name of line breaks": "\n\u2028\u2029\x85",
    "a name with an option": "--output=evil",
    "a name with a template": "{{ 7 * 7 }}${7*7}{% include 'x' %}%s%n",
}
"""Names that are honest to the format and hostile to whoever prints them: listed, exactly as they are."""


def named(name: str) -> bytes:
    """A good file whose one tensor has any name."""
    return packed({name: entry()})


def cases() -> list[Hostile]:
    """All of them."""
    lies = [Hostile(f"{name}, safetensors", written(FILE, data), says) for name, (data, says) in LIES.items()]
    return [*lies, *(Hostile(what, written(FILE, named(name)), "") for what, name in NAMES.items())]
