"""One safetensors file: an 8-byte length, a JSON header, the tensors' bytes.

The header is parsed here rather than by the `safetensors` package because listing then needs neither torch nor numpy,
and because every lie it can tell is refused with its own sentence. A tensor is mapped on access.

**Source:** the format's description in the `safetensors` repository; as there, tensors may neither overlap nor leave
gaps, and the header is at most 100 MB.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header, Span
from weightatlas.checkpoints.dtypes import ITEM_SIZES, SAFETENSORS, SAFETENSORS_BITS
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob

HEADER_LIMIT: Final = 100_000_000
FIRST_READ: Final = 65536  # most headers fit: one request finds length and header
DIMENSION_LIMIT: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def detect_safetensors(blob: Blob, head: bytes) -> bool:
    """Whether a file starts as safetensors do: a length that is possible, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and _header_length(head) <= min(HEADER_LIMIT, blob.size - 8)


def open_safetensors(blob: Blob) -> Contents:
    """List one file.

    Raises:
        SourceError: the file is truncated, or its header lies.
    """
    stored, metadata, start = _read_header(blob)
    headers = [
        Header(
            name=tensor.name,
            key=tensor.name,
            shape=tensor.shape,
            dtype=SAFETENSORS[tensor.dtype],
            nbytes=tensor.end - tensor.begin,
            file=blob.name,
            span=Span(blob, start + tensor.begin),
        )
        for tensor in stored
        if tensor.dtype in SAFETENSORS
    ]
    skipped = [
        Skipped(tensor.name, f"its type {tensor.dtype[:40]} has no torch tensor")
        for tensor in stored
        if tensor.dtype not in SAFETENSORS
    ]
    return Contents("safetensors", headers, metadata=metadata, skipped=skipped)


def _header_length(head: bytes) -> int:
    return int(struct.unpack("<Q", head[:8])[0])


def _read_header(blob: Blob) -> tuple[list[_Stored], dict[str, str], int]:
    text = _header_text(blob)
    header = bounded_json(text, blob.name, "its safetensors header")
    metadata = (header.pop("__metadata__", None) or {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise SourceError(blob.name, "its safetensors header is no JSON object of the format", REMEDY)
    stored = [_check_entry(blob.name, name, entry) for name, entry in header.items()]
    _check_offsets(blob.name, stored, blob.size - 8 - len(text))
    return stored, {str(key): str(value) for key, value in metadata.items()}, 8 + len(text)


def _header_text(blob: Blob) -> bytes:
    head = blob.read(0, min(FIRST_READ, blob.size))
    if len(head) < 8:
        raise SourceError(blob.name, "truncated: shorter than a safetensors header", REMEDY)
    length = _header_length(head)
    if length > HEADER_LIMIT:
        problem = f"its safetensors header claims {length} bytes; 100 MB is the most allowed"
        raise SourceError(blob.name, problem, REMEDY)
    if length > blob.size - 8:
        raise SourceError(blob.name, f"truncated: its header has {length} bytes, the whole file {blob.size}", REMEDY)
    return head[8 : 8 + length] + blob.read(len(head), max(0, 8 + length - len(head)))


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DIMENSION_LIMIT


def _check_entry(source: str, name: str, entry: Any) -> _Stored:  # noqa: ANN401 - whatever JSON held
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise _lie(source, name, "dtype, shape or data_offsets is missing")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise _lie(source, name, f"shape {str(shape)[:80]} is no list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)) or offsets[0] > offsets[1]:
        raise _lie(source, name, f"data_offsets {str(offsets)[:80]} are no range of bytes")
    if not isinstance(dtype, str):
        raise _lie(source, name, "its dtype is no text")
    bits = 8 * ITEM_SIZES[SAFETENSORS[dtype]] if dtype in SAFETENSORS else SAFETENSORS_BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        raise _lie(source, name, f"{dtype} of shape {str(shape)[:80]} does not fill {offsets[1] - offsets[0]} bytes")
    return _Stored(name, dtype, tuple(shape), offsets[0], offsets[1])


def _lie(source: str, name: str, problem: str) -> SourceError:
    return SourceError(source, f"its header lies about {name[:80]!r}: {problem}", REMEDY)


def _check_offsets(source: str, stored: list[_Stored], size: int) -> None:
    position = 0
    for tensor in sorted(stored, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != position:
            problem = "overlaps another tensor" if tensor.begin < position else "leaves a gap before it"
            raise _lie(source, tensor.name, f"it {problem}")
        position = tensor.end
    if position > size:
        raise SourceError(
            source, f"truncated: its header promises {position} bytes of tensors, there are {size}", REMEDY
        )
    if position < size:
        raise SourceError(source, f"{size - position} bytes follow the last tensor of its header", REMEDY)
