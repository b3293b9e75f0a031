"""One safetensors file: an 8-byte length, a JSON header, the tensors' bytes.

The header is parsed here rather than by the `safetensors` package because listing then needs neither torch nor numpy,
and because every lie it can tell is refused with its own sentence. A tensor is mapped on access.

**Source:** the format's description in the `safetensors` repository; as there, tensors may neither overlap nor leave
gaps, and the header is at most 100 MB.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.dtypes import ITEM_SIZES, SAFETENSORS, SAFETENSORS_BITS
from weightatlas.checkpoints.mapped import map_tensor
from weightatlas.checkpoints.untrusted import REMEDY, untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

HEADER_LIMIT: Final = 100_000_000
DIMENSION_LIMIT: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def detect_safetensors(path: Path, head: bytes) -> bool:
    """Whether a file starts as safetensors do: a length that is possible, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and _header_length(head) <= min(HEADER_LIMIT, path.stat().st_size - 8)


def open_safetensors(path: Path) -> Contents:
    """List one file.

    Raises:
        SourceError: the file is truncated, or its header lies.
    """
    stored, metadata, start = _read_header(path)
    offsets = {tensor.name: (tensor, start + tensor.begin) for tensor in stored}
    headers = [
        Header(
            name=tensor.name,
            key=tensor.name,
            shape=tensor.shape,
            dtype=SAFETENSORS[tensor.dtype],
            nbytes=tensor.end - tensor.begin,
            file=str(path),
        )
        for tensor in stored
        if tensor.dtype in SAFETENSORS
    ]
    skipped = [
        Skipped(tensor.name, f"its type {tensor.dtype} has no torch tensor")
        for tensor in stored
        if tensor.dtype not in SAFETENSORS
    ]

    def read(name: str) -> torch.Tensor:
        tensor, offset = offsets[name]
        return map_tensor(path, offset, tensor.shape, SAFETENSORS[tensor.dtype])

    return Contents("safetensors", headers, read, metadata, skipped)


def _header_length(head: bytes) -> int:
    return int(struct.unpack("<Q", head[:8])[0])


def _read_header(path: Path) -> tuple[list[_Stored], dict[str, str], int]:
    size = path.stat().st_size
    text = _header_text(path, size)
    with untrusted(path, "its safetensors header cannot be read"):
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    metadata = (header.pop("__metadata__", None) or {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise SourceError(path, "its safetensors header is no JSON object of the format", REMEDY)
    stored = [_check_entry(path, name, entry) for name, entry in header.items()]
    _check_offsets(path, stored, size - 8 - len(text))
    return stored, {str(key): str(value) for key, value in metadata.items()}, 8 + len(text)


def _header_text(path: Path, size: int) -> bytes:
    with untrusted(path, "cannot be read"), path.open("rb") as file:
        head = file.read(8)
        length = _header_length(head) if len(head) == 8 else 0
        text = file.read(length) if length <= HEADER_LIMIT else b""
    if len(head) < 8:
        raise SourceError(path, "truncated: shorter than a safetensors header", REMEDY)
    if length > HEADER_LIMIT:
        raise SourceError(path, f"its safetensors header claims {length} bytes; 100 MB is the most allowed", REMEDY)
    if len(text) < length:
        raise SourceError(path, f"truncated: its header has {length} bytes, the whole file {size}", REMEDY)
    return text


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        message = "a name stands twice"
        raise ValueError(message)
    return mapping


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DIMENSION_LIMIT


def _check_entry(path: Path, name: str, entry: Any) -> _Stored:  # noqa: ANN401 - whatever JSON held
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise _lie(path, name, "dtype, shape or data_offsets is missing")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise _lie(path, name, f"shape {str(shape)[:80]} is no list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)) or offsets[0] > offsets[1]:
        raise _lie(path, name, f"data_offsets {str(offsets)[:80]} are no range of bytes")
    if not isinstance(dtype, str):
        raise _lie(path, name, "its dtype is no text")
    bits = 8 * ITEM_SIZES[SAFETENSORS[dtype]] if dtype in SAFETENSORS else SAFETENSORS_BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        raise _lie(path, name, f"{dtype} of shape {str(shape)[:80]} does not fill {offsets[1] - offsets[0]} bytes")
    return _Stored(name, dtype, tuple(shape), offsets[0], offsets[1])


def _lie(path: Path, name: str, problem: str) -> SourceError:
    return SourceError(path, f"its header lies about {name[:80]!r}: {problem}", REMEDY)


def _check_offsets(path: Path, stored: list[_Stored], size: int) -> None:
    position = 0
    for tensor in sorted(stored, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != position:
            problem = "overlaps another tensor" if tensor.begin < position else "leaves a gap before it"
            raise _lie(path, tensor.name, f"it {problem}")
        position = tensor.end
    if position > size:
        raise SourceError(path, f"truncated: its header promises {position} bytes of tensors, there are {size}", REMEDY)
    if position < size:
        raise SourceError(path, f"{size - position} bytes follow the last tensor of its header", REMEDY)
