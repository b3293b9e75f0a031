"""The arrays of an HDF5 file: listed by a child process, checked here, mapped from the file where they lie plainly.

What the child says is as untrusted as the file: it is believed only as far as it fits the file's size.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.contents import Header, Span
from weightatlas.checkpoints.dtypes import ITEM_SIZES, numpy_name
from weightatlas.checkpoints.hdf5.hdf5_process import SHARED
from weightatlas.checkpoints.hdf5.hdf5_walk import CHUNK_LIMIT, boxes
from weightatlas.checkpoints.mapped import from_bytes
from weightatlas.checkpoints.places.blob import Blob, LocalBlob
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS: Final = (0, 512, 1024, 2048)
BOMB_SIZE: Final = 2**29
BOMB_RATIO: Final = 100
RANK_LIMIT: Final = 32  # HDF5's own


@dataclass(frozen=True, slots=True)
class Part:
    """Where an HDF5 file lies: a whole blob, or a stretch of one that holds it uncompressed.

    Attributes:
        blob: what holds it.
        begin: its first byte.
        length: in bytes.
    """

    blob: Blob
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Array:
    """One array of an HDF5 file.

    Attributes:
        name: its path in the file, without the first "/".
        shape: as stored.
        dtype: torch's name of its type, or None where torch has none.
        kind: numpy's or Keras's name of its type.
        stored: its bytes in the file.
        offset: where its bytes begin in the blob, if they lie plainly in one place.
        chunks: the shape of a chunk, if it is stored in chunks.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str | None
    kind: str
    stored: int
    offset: int | None
    chunks: tuple[int, ...] | None

    @property
    def nbytes(self) -> int:
        """Its size when it is unpacked; 0 where torch has no type for it."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype] if self.dtype else 0


@dataclass(frozen=True, slots=True)
class Hdf5:
    """What an HDF5 file holds.

    Attributes:
        part: where it lies.
        arrays: by path.
        links: paths that lead to no array of this file's own, and why.
        texts: Keras's attributes: by path of the group, then by attribute; a text or a list of names.
    """

    part: Part
    arrays: Mapping[str, Array]
    links: Mapping[str, str]
    texts: Mapping[str, Mapping[str, Any]]

    def names(self, group: str, attribute: str) -> list[str] | None:
        """An attribute that lists names, or None where the group has none."""
        value = self.texts.get(group, {}).get(attribute)
        return value if isinstance(value, list) else None

    def text(self, group: str, attribute: str) -> str | None:
        """An attribute that is one text, or None where the group has none."""
        value = self.texts.get(group, {}).get(attribute)
        return value if isinstance(value, str) else None

    def reason(self, name: str) -> str | None:
        """Why there is nothing to read under a path; None where there is an array."""
        array = self.arrays.get(name)
        return self.links.get(name, "the file has no such array") if array is None else _unreadable(array)

    def span(self, name: str) -> Span | None:
        """Where an array's bytes lie, if they lie plainly in one place."""
        array = self.arrays[name]
        if array.offset is None or not array.nbytes:
            return None
        return Span(self.part.blob, array.offset, big_endian=array.kind.startswith(">"))

    def header(
        self,
        array: Array,
        name: str,
        key: str,
        *,
        axes: tuple[int, ...] | None = None,
        merge: tuple[int, ...] | None = None,
    ) -> Header:
        """An array as a tensor of that name and key, turned to torch's order by `axes` and `merge`."""
        return Header(
            name,
            key,
            array.shape,
            str(array.dtype),
            array.nbytes,
            self.part.blob.name,
            span=self.span(array.name),
            axes=axes,
            merge=merge,
        )

    def read(self, name: str) -> torch.Tensor:
        """Unpack an array, piece by piece.

        Raises:
            SourceError: its chunks are corrupt, or the file is not what it was.
        """
        import torch  # reading only: listing runs without it

        array, part = self.arrays[name], self.part
        dtype = str(array.dtype)
        values = from_bytes(bytearray(array.nbytes), array.shape, dtype)
        places = list(boxes(array.shape, array.chunks, ITEM_SIZES[dtype]))
        shapes = [tuple(stop - start for start, stop in box) for box in places]
        sizes = [math.prod(shape) * ITEM_SIZES[dtype] for shape in shapes]
        request = {**_place(part), "name": name, "shape": array.shape, "chunks": array.chunks}
        answer = SHARED.exchange(part.blob.name, request, sizes)
        with torch.no_grad():
            for place, shape, piece in zip([*places, None], [*shapes, ()], answer, strict=True):
                if place is not None:
                    box = tuple(slice(start, stop) for start, stop in place)
                    values[box] = from_bytes(piece, shape, dtype)
        _check_unchanged(part.blob)
        return values


def has_signature(head: bytes) -> bool:
    r"""Whether a file is HDF5 by its first bytes; a block of the user's may come before (MATLAB writes one).

    Example:
        >>> has_signature(b"\x89HDF\r\n\x1a\n"), has_signature(b"MATLAB".ljust(512) + b"\x89HDF\r\n\x1a\n")
        (True, True)
    """
    return any(head[start : start + len(SIGNATURE)] == SIGNATURE for start in USER_BLOCKS)


def list_hdf5(part: Part) -> Hdf5:
    """List the arrays of an HDF5 file.

    Raises:
        SourceError: it is truncated or corrupt, its parser crashed or did not come back, two arrays share bytes.
    """
    source = part.blob.name
    (answer,) = SHARED.exchange(source, {**_place(part), "name": None})
    found = bounded_json(bytes(answer), source, "the list of its arrays")
    try:
        arrays = [_array(part, row) for row in found["arrays"]]
        links = {_name(name): str(reason) for name, reason in found["links"]}
        texts = {str(path): dict(entries) for path, entries in found["texts"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(source, f"its HDF5 structure makes no sense ({str(error)[:80]})", REMEDY) from None
    counts = Counter(array.name for array in arrays)
    links.update({name: "named twice" for name, count in counts.items() if count > 1})
    links.update(_shared(source, arrays))
    return Hdf5(part, {array.name: array for array in arrays if array.name not in links}, links, texts)


def _place(part: Part) -> dict[str, object]:
    _check_unchanged(part.blob)
    return {"path": str(part.blob.path()), "begin": part.begin, "length": part.length}


def _check_unchanged(blob: Blob) -> None:
    if isinstance(blob, LocalBlob):
        blob.open().close()


def _array(part: Part, row: list[Any]) -> Array:
    """A row of the child's list, checked against the file."""
    name, shape, kind, stored, offset, chunks = row
    if not _is_shape(shape, 0) or not isinstance(kind, str) or not _is_size(stored):
        raise _senseless(name)
    if chunks is not None and (not _is_shape(chunks, 1) or len(chunks) != len(shape)):
        raise _senseless(name)
    dtype = "bfloat16" if kind == "bfloat16" else numpy_name(kind)
    array = Array(_name(name), tuple(shape), dtype, kind, stored, offset, None if chunks is None else tuple(chunks))
    if offset is None or not array.nbytes:
        return array
    if not _is_size(offset) or stored != array.nbytes or offset + stored > part.length:
        problem = f"its array {name[:80]!r} of {array.nbytes} bytes does not lie within it"
        raise SourceError(part.blob.name, problem, REMEDY)
    return Array(array.name, array.shape, dtype, kind, stored, part.begin + offset, array.chunks)


def _name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _senseless(value)
    return value


def _senseless(name: object) -> ValueError:
    return ValueError(f"what it says of {str(name)[:60]!r}")


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_shape(value: object, least: int) -> bool:
    if not isinstance(value, list) or len(value) > RANK_LIMIT:
        return False
    return all(_is_size(size) and size >= least for size in value)


def _shared(source: str, arrays: Iterable[Array]) -> dict[str, str]:
    """Arrays that are the same bytes as another, which is one array by two names; refuse those that share a part."""
    again: dict[str, str] = {}
    last: Array | None = None
    placed = [array for array in arrays if array.offset is not None and array.nbytes]
    for array in sorted(placed, key=lambda array: (array.offset or 0, array.nbytes, array.name)):
        if last is None or (array.offset or 0) >= (last.offset or 0) + last.nbytes:
            last = array
        elif (array.offset, array.nbytes) == (last.offset, last.nbytes):
            again[array.name] = f"the same bytes as {last.name[:80]!r}"
        else:
            raise SourceError(source, f"its arrays {last.name[:80]!r} and {array.name[:80]!r} share bytes", REMEDY)
    return again


def _unreadable(array: Array) -> str | None:
    if array.dtype is None:
        return f"its type {array.kind[:40]!r} has no torch tensor"
    if array.nbytes and not array.stored:
        return "its values were never written"
    if array.nbytes > BOMB_SIZE and array.nbytes > BOMB_RATIO * array.stored:
        return f"would unpack to {array.nbytes} bytes from {array.stored}"
    chunk = math.prod(array.chunks or ()) * ITEM_SIZES[array.dtype]
    if array.chunks is not None and chunk > CHUNK_LIMIT:
        return f"one of its chunks has {chunk} bytes; {CHUNK_LIMIT} is the most that is unpacked"
    return None
