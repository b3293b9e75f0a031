"""A GGUF file, as llama.cpp reads them: key-values, a list of tensors, then their elements at aligned places.

Plain types are mapped; quantised ones are named and skipped. Tensors keep GGUF's own names (`blk.0.attn_q.weight`).

**Source:** the GGUF specification of the ggml repository, versions 2 and 3 in either order of bytes. As in llama.cpp,
offsets are multiples of the alignment and the alignment is a power of two; unlike there, gaps between tensors pass.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header, Span
from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.gguf_types import PLAIN, QUANTISED, WITHDRAWN
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.checkpoints.window import Window
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
TENSOR_LIMIT: Final = 200_000
ENTRY_LIMIT: Final = 100_000
ELEMENT_LIMIT: Final = 4_000_000
"""The most texts in the lists of one file: a vocabulary of 256,000 words with its merges has a fifth of that."""
NAME_LIMIT: Final = 65535
NAMES_LIMIT: Final = 64 * 2**20
DIMENSIONS_LIMIT: Final = 8
METADATA_LIMIT: Final = 1000
METADATA_LENGTH: Final = 4096
"""The most entries of metadata that are kept, and the most letters of each."""
ALIGNMENT: Final = "general.alignment"
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_NUMBERS: Final[dict[int, str]] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""How `struct` reads the numbers that a key may have for a value."""


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def nbytes(self) -> int:
        """What it takes in the file; 0 where its type is not known."""
        if self.type in PLAIN:
            return math.prod(self.shape) * ITEM_SIZES[PLAIN[self.type]]
        _, block, size = QUANTISED.get(self.type, ("", 1, 0))
        return math.prod(self.shape) // block * size


def detect_gguf(blob: Blob, head: bytes) -> bool:
    """Whether a file starts with GGUF's magic."""
    return head.startswith(MAGIC) and blob.size > len(MAGIC)


def open_gguf(blob: Blob) -> Contents:
    """List one file.

    Raises:
        SourceError: the file is truncated, of another version, or its header lies.
    """
    cursor = _Cursor(blob)
    tensors, entries = cursor.open()
    metadata, alignment = _read_entries(cursor, entries)
    stored = _read_tensors(cursor, tensors)
    start = cursor.position + -cursor.position % alignment
    _check_places(blob, stored, start, alignment)
    big_endian = cursor.order == ">"
    headers = [
        Header(
            name=tensor.name,
            key=tensor.name,
            shape=tensor.shape,
            dtype=PLAIN[tensor.type],
            nbytes=tensor.nbytes,
            file=blob.name,
            span=Span(blob, start + tensor.offset, big_endian=big_endian),
        )
        for tensor in stored
        if tensor.type in PLAIN
    ]
    skipped = [Skipped(tensor.name, _reason(tensor.type)) for tensor in stored if tensor.type not in PLAIN]
    return Contents("gguf", headers, metadata=metadata, skipped=skipped, fixed_layout=True)


class _Cursor:
    """Reads a header from its beginning to its end.

    Attributes:
        blob: the file.
        position: the byte to be read next.
        order: of bytes, as `struct` writes it.
    """

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self.position = len(MAGIC)
        self.order = "<"
        self._window = Window(blob)
        self._texts = 0
        self._names = 0

    def open(self) -> tuple[int, int]:
        """Read how many tensors and entries there are, once version and order of bytes are known."""
        version = self.number("I")
        if version not in VERSIONS and struct.unpack(">I", struct.pack("<I", version))[0] in VERSIONS:
            self.order = ">"
            self.position -= 4
            version = self.number("I")
        if version not in VERSIONS:
            problem = f"a GGUF file of version {version}; 2 and 3 are read"
            raise SourceError(self.blob.name, problem, "convert it with a current llama.cpp")
        return self.count("tensors", TENSOR_LIMIT, 24), self.count("entries", ENTRY_LIMIT, 13)

    def number(self, kind: str) -> int:
        """A number as `struct` calls its kind."""
        return int(self.value(kind))

    def value(self, kind: str) -> float:
        size = struct.calcsize(f"<{kind}")
        data, index = self._window.around(self.position, size)
        self.position += size
        value: float = struct.unpack_from(f"{self.order}{kind}", data, index)[0]
        return value

    def count(self, what: str, limit: int, least: int) -> int:
        """How many of something follow, each of `least` bytes or more."""
        count = self.number("Q")
        if count > limit or count * least > self.blob.size:
            raise _lie(self.blob.name, f"it claims {count} {what}")
        return count

    def name(self) -> str:
        """A text that is the name of something."""
        length = self.number("Q")
        self._names += length
        if length > NAME_LIMIT or self._names > NAMES_LIMIT:
            raise _lie(self.blob.name, f"a name of {length} bytes")
        data = self._window.read(self.position, length)
        self.position += length
        return data.decode()

    def text(self) -> str:
        """A text, the beginning of it where it is long."""
        length = self.number("Q")
        start = self.position
        self.skip(length)
        return self._window.read(start, min(length, 4 * METADATA_LENGTH)).decode("utf-8", "replace")[:METADATA_LENGTH]

    def skip(self, length: int) -> None:
        """Pass by what is not needed."""
        self.position += length
        if self.position > self.blob.size:
            raise _lie(self.blob.name, f"something in it ends at byte {self.position} of {self.blob.size}")

    def skip_array(self, depth: int = 0) -> None:
        """Pass by a list: of numbers in one step, of texts one by one, of lists no deeper than one."""
        kind, count = self.number("I"), self.number("Q")
        if kind in _NUMBERS:
            self.skip(count * struct.calcsize(f"<{_NUMBERS[kind]}"))
            return
        if kind not in {_STRING, _ARRAY} or depth > 1:
            raise _lie(self.blob.name, f"a list of type {kind}, {depth} deep")
        self._texts += count
        if self._texts > ELEMENT_LIMIT:
            raise _lie(self.blob.name, f"a list of {count} elements")
        for _ in range(count):
            if kind == _STRING:
                self.skip(self.number("Q"))
            else:
                self.skip_array(depth + 1)


def _read_entries(cursor: _Cursor, count: int) -> tuple[dict[str, str], int]:
    """Key-values that are texts or numbers, and the alignment; lists, a vocabulary say, are passed by."""
    metadata: dict[str, str] = {}
    seen: set[str] = set()
    alignment = 32
    for _ in range(count):
        key, kind = cursor.name(), cursor.number("I")
        if key in seen:
            raise _lie(cursor.blob.name, f"the key {key[:80]!r} stands twice")
        seen.add(key)
        if kind == _ARRAY:
            cursor.skip_array()
        elif kind == _STRING:
            text = cursor.text()
            if len(metadata) < METADATA_LIMIT:
                metadata[key] = text
        elif kind in _NUMBERS:
            value = cursor.value(_NUMBERS[kind])
            if len(metadata) < METADATA_LIMIT:
                metadata[key] = str(value)
            alignment = int(value) if key == ALIGNMENT and kind == _UINT32 else alignment
        else:
            raise _lie(cursor.blob.name, f"the key {key[:80]!r} has a value of type {kind}")
    if alignment < 1 or alignment & (alignment - 1):
        raise _lie(cursor.blob.name, f"an alignment of {alignment}")
    return metadata, alignment


def _read_tensors(cursor: _Cursor, count: int) -> list[_Stored]:
    stored: dict[str, _Stored] = {}
    for _ in range(count):
        name, dimensions = cursor.name(), cursor.number("I")
        if name in stored:
            raise _lie(cursor.blob.name, f"two of its tensors are called {name[:80]!r}")
        if dimensions > DIMENSIONS_LIMIT:
            raise _lie(cursor.blob.name, f"{name[:80]!r} has {dimensions} dimensions")
        sizes = [cursor.number("Q") for _ in range(dimensions)]
        tensor = _Stored(name, tuple(reversed(sizes)), cursor.number("I"), cursor.number("Q"))
        if any(size >= 2**63 for size in sizes):
            raise _lie(cursor.blob.name, f"{name[:80]!r} has the shape {str(tensor.shape)[:80]}")
        _, block, _ = QUANTISED.get(tensor.type, ("", 1, 0))
        if sizes[:1] and sizes[0] % block:
            raise _lie(cursor.blob.name, f"{name[:80]!r} has rows of {sizes[0]}, quantised in blocks of {block}")
        stored[name] = tensor
    return list(stored.values())


def _check_places(blob: Blob, stored: list[_Stored], start: int, alignment: int) -> None:
    end = 0
    for tensor in sorted(stored, key=lambda tensor: (tensor.offset, tensor.nbytes)):
        if tensor.offset % alignment:
            raise _lie(blob.name, f"{tensor.name[:80]!r} begins at {tensor.offset}, no multiple of {alignment}")
        if tensor.offset < end:
            raise _lie(blob.name, f"{tensor.name[:80]!r} overlaps another tensor")
        end = max(end, tensor.offset + tensor.nbytes)
    if end and start + end > blob.size:
        problem = f"truncated: its header promises {start + end} bytes, there are {blob.size}"
        raise SourceError(blob.name, problem, REMEDY)


def _reason(kind: int) -> str:
    if kind in QUANTISED:
        return f"quantised as {QUANTISED[kind][0]}, which is not unpacked"
    if kind in WITHDRAWN:
        return f"quantised as {WITHDRAWN[kind]}, which is not unpacked"
    return f"of a type without a name here, number {kind}"


def _lie(source: str, problem: str) -> SourceError:
    return SourceError(source, f"its GGUF header lies: {problem}", REMEDY)
