"""One tensor of an ONNX file: its shape and type, and where its elements lie, of the five ways to keep them.

**Source:** `TensorProto` of onnx.proto. Unlike the `onnx` package, nothing is read but names and shapes until the
tensor is asked for, and elements that do not fill the shape exactly are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.contents import Span
from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.mapped import from_bytes
from weightatlas.checkpoints.onnx.protobuf import FIXED32, FIXED64, LENGTH, VARINT, WireReader, corrupt, decode_varints
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.onnx.protobuf import Field
    from weightatlas.checkpoints.places.blob import Blob

DTYPES: Final[dict[int, str]] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    24: "float8_e8m0fnu",
}
"""torch's names of ONNX's types, by their numbers."""

OTHER_TYPES: Final[dict[int, str]] = {
    0: "UNDEFINED",
    8: "STRING",
    21: "UINT4",
    22: "INT4",
    23: "FLOAT4E2M1",
    25: "UINT2",
    26: "INT2",
    27: "FLOAT6E2M3",
    28: "FLOAT6E3M2",
}
"""ONNX's types that torch has no plain tensor for."""

DIMENSIONS_LIMIT: Final = 64
FILES_LIMIT: Final = 10_000
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _DOUBLE_DATA, _UINT64_DATA = 4, 5, 7, 10, 11
_SMALL: Final = frozenset(
    {name for name, size in ITEM_SIZES.items() if size <= 2} | {"int32"}
)  # what ONNX keeps in 32-bit numbers
_TYPED: Final[dict[int, tuple[int, frozenset[str]]]] = {
    _FLOAT_DATA: (FIXED32, frozenset({"float32", "complex64"})),
    _INT32_DATA: (VARINT, _SMALL),
    _INT64_DATA: (VARINT, frozenset({"int64"})),
    _DOUBLE_DATA: (FIXED64, frozenset({"float64", "complex128"})),
    _UINT64_DATA: (VARINT, frozenset({"uint32", "uint64"})),
}
"""For each field of numbers, how one is written and which types it may hold."""


@dataclass(slots=True, eq=False)
class StoredTensor:
    """A tensor as its message describes it.

    Attributes:
        start: the byte where its message begins.
        end: the byte behind it.
        name: its name in the graph.
        shape: as stored.
        type: the number of its type.
        raw: the bytes where its elements begin and end, if they lie there plainly.
        typed: for each field that holds numbers, its bytes, and where a single packed run of them begins, else None.
        external: what the file says of another file that holds the elements, or None.
        is_segment: whether it is a part of a tensor only.
    """

    start: int
    end: int
    name: str = ""
    shape: tuple[int, ...] = ()
    type: int = 0
    raw: tuple[int, int] | None = None
    typed: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False
    is_segment: bool = False

    @property
    def dtype(self) -> str:
        """Its type by torch's name; KeyError where torch has none."""
        return DTYPES[self.type]

    @property
    def nbytes(self) -> int:
        """What its shape and type need."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]

    @property
    def unreadable(self) -> str | None:
        """Why it is no tensor that can be read, or None."""
        if self.type not in DTYPES:
            return f"its type {OTHER_TYPES.get(self.type, self.type)} has no torch tensor"
        if self.is_segment:
            return "a segment of a tensor"
        return None


def parse_tensor(wire: WireReader, start: int, end: int) -> StoredTensor:
    """Read the message between two bytes; elements are passed by.

    Raises:
        SourceError: it breaks the format.
    """
    tensor = StoredTensor(start, end)
    for part in wire.fields(start, end):
        match part.number:
            case 1:
                tensor.shape += _dimensions(wire, tensor, part)
            case 2:
                tensor.type = wire.number(part, "a tensor's type")
            case 3:
                tensor.is_segment = True
            case 8:
                tensor.name = wire.text(part, "a tensor's name")
            case 9:
                wire.expect(part, LENGTH, "raw_data")
                tensor.raw = part.start, part.end
            case 13:
                tensor.external.update([parse_pair(wire, part)])
            case 14:
                tensor.is_external = wire.number(part, "a tensor's data_location") == 1
            case number if number in _TYPED:
                _note_numbers(wire, tensor, part)
    return tensor


def _dimensions(wire: WireReader, tensor: StoredTensor, part: Field) -> tuple[int, ...]:
    if len(tensor.shape) >= DIMENSIONS_LIMIT or part.end - part.start > 10 * DIMENSIONS_LIMIT:
        raise corrupt(wire.name, f"a tensor of more than {DIMENSIONS_LIMIT} dimensions")
    sizes = tuple(wire.numbers(part, "a dimension"))
    if min(sizes, default=0) < 0:
        raise corrupt(wire.name, f"a tensor with a dimension of {min(sizes)}")
    return sizes


def parse_pair(wire: WireReader, part: Field) -> tuple[str, str]:
    """Read a `StringStringEntryProto`: a key and its value.

    Raises:
        SourceError: it breaks the format.
    """
    wire.expect(part, LENGTH, "an entry of texts")
    texts = {1: "", 2: ""}
    for entry in wire.fields(part.start, part.end):
        if entry.number in texts:
            texts[entry.number] = wire.text(entry, "an entry's text")
    return texts[1], texts[2]


def _note_numbers(wire: WireReader, tensor: StoredTensor, part: Field) -> None:
    if part.wire != LENGTH:
        wire.expect(part, _TYPED[part.number][0], "a tensor's number")
    seen = tensor.typed.get(part.number)
    single = part.start if seen is None and part.wire == LENGTH else None
    tensor.typed[part.number] = (seen[0] if seen else 0) + part.end - part.start, single


def find_elements(tensor: StoredTensor, blob: Blob, files: dict[str, Blob]) -> Span | None:
    """Where a readable tensor's elements lie plainly; None where they are numbers to be decoded.

    Args:
        tensor: of a type that torch has.
        blob: the file that it is described in.
        files: other files of elements that were opened already, by location; grows.

    Raises:
        SourceError: they do not fill its shape, lie outside their file, or outside the folder.
    """
    if tensor.is_external:
        return _find_outside(tensor, blob, files)
    if tensor.raw is not None:
        start, end = tensor.raw
        _check_length(blob.name, tensor, end - start)
        if tensor.typed:
            raise _lie(blob.name, tensor, "it has elements twice")
        return Span(blob, start)
    if not tensor.typed:
        _check_length(blob.name, tensor, 0)
        return Span(blob, tensor.start)
    if len(tensor.typed) > 1:
        raise _lie(blob.name, tensor, "it has elements twice")
    ((number, (length, single)),) = tensor.typed.items()
    how, dtypes = _TYPED[number]
    if tensor.dtype not in dtypes:
        raise _lie(blob.name, tensor, f"{tensor.dtype} cannot be in its field {number}")
    if how != VARINT:
        _check_length(blob.name, tensor, length)
        return None if single is None else Span(blob, single)
    count = math.prod(tensor.shape)
    if not count <= length <= 10 * count:
        raise _lie(blob.name, tensor, f"shape {str(tensor.shape)[:80]} does not fit {length} bytes of numbers")
    return None


def _find_outside(tensor: StoredTensor, blob: Blob, files: dict[str, Blob]) -> Span:
    location = tensor.external.get("location", "")
    if location not in files:
        if len(files) >= FILES_LIMIT:
            raise SourceError(blob.name, f"names more than {FILES_LIMIT} files", "do not use this checkpoint")
        files[location] = blob.folder().blob(location)
    other = files[location]
    offset = _count(blob.name, tensor, "offset", 0)
    _check_length(blob.name, tensor, _count(blob.name, tensor, "length", tensor.nbytes))
    if offset + tensor.nbytes > other.size:
        problem = f"its elements end at byte {offset + tensor.nbytes} of {location[:80]!r}, which has {other.size}"
        raise _lie(blob.name, tensor, problem)
    return Span(other, offset)


def _count(source: str, tensor: StoredTensor, key: str, default: int) -> int:
    text = tensor.external.get(key, str(default))
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise _lie(source, tensor, f"its {key} {text[:40]!r} is no number of bytes")
    return int(text)


def _check_length(source: str, tensor: StoredTensor, length: int) -> None:
    if length != tensor.nbytes:
        raise _lie(source, tensor, f"{tensor.dtype} of shape {str(tensor.shape)[:80]} does not fill {length} bytes")


def _lie(source: str, tensor: StoredTensor, problem: str) -> SourceError:
    return SourceError(source, f"it lies about {tensor.name[:80]!r}: {problem}", REMEDY)


def decode_elements(blob: Blob, tensor: StoredTensor) -> torch.Tensor:
    """Read a tensor whose elements are numbers to be decoded, as stored.

    Raises:
        SourceError: the file breaks the format.
        ValueError: there are more or fewer numbers than its shape needs.
    """
    (number,) = tensor.typed
    data = WireReader(blob).gather(tensor.start, tensor.end, number)
    if _TYPED[number][0] == VARINT:
        count = math.prod(tensor.shape)
        if tensor.dtype == "bool":
            return from_bytes(decode_varints(data, count, 4), tensor.shape, "int32") != 0
        data = decode_varints(data, count, ITEM_SIZES[tensor.dtype])
    return from_bytes(data, tensor.shape, tensor.dtype)
