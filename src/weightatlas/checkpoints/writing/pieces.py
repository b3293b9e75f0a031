"""Where every tensor of a checkpoint lies as bytes of its files, so that other values can be put there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.pickles.distributed import is_distributed, stored_parts
from weightatlas.checkpoints.places.blob import Blob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.checkpoints.contents import Header, Span
    from weightatlas.checkpoints.pickles.tiling import Box
    from weightatlas.checkpoints.places.blob import Folder

PACKED: Final = "its values lie compressed, in chunks or as numbers of varying length"


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A tensor, or one of its parts, as elements in a file.

    Attributes:
        header: of the whole tensor, laid out as the checkpoint gives it.
        file: the whole file.
        offset: the byte of its first element there.
        shape: of the piece, as stored.
        strides: steps between elements along each axis; None is C order.
        big_endian: whether the bytes of an element are in network order.
        box: which part of the tensor it is; None is all of it.
        archive: first byte and length of what may be a zip archive around it.
    """

    header: Header
    file: Blob
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    big_endian: bool
    archive: tuple[int, int]
    box: Box | None = None

    @property
    def end(self) -> int:
        """The byte behind its last element."""
        count = math.prod(self.shape)
        if count and self.strides is not None:
            count = 1 + sum(step * (size - 1) for step, size in zip(self.strides, self.shape, strict=True))
        return self.offset + count * ITEM_SIZES[self.header.dtype]


def pieces_of(place: Blob | Folder, headers: Sequence[Header]) -> tuple[dict[str, tuple[Piece, ...]], dict[str, str]]:
    """Find the pieces of every tensor.

    Args:
        place: what was opened.
        headers: of the tensors, laid out.

    Returns:
        Pieces by the tensor's name, none where it has no elements; and why there are none of those that lie nowhere
        plainly.
    """
    found: dict[str, tuple[Piece, ...]] = {}
    packed: dict[str, str] = {}
    names = {header.name for header in headers if header.nbytes}
    parts = {} if isinstance(place, Blob) or not is_distributed(place) else stored_parts(place, names)
    for header in headers:
        if not header.nbytes:
            found[header.name] = ()
        elif header.name in parts:
            found[header.name] = tuple(
                _piece(header, inner, inner.span, (start, length), box)
                for box, inner, start, length in parts[header.name]
                if inner.span is not None
            )
            if len(found[header.name]) < len(parts[header.name]):
                packed[header.name] = PACKED
        elif header.span is None or _is_unpacked(place, header.span):
            packed[header.name] = PACKED
        else:
            root, _ = header.span.blob.origin(header.span.offset)
            found[header.name] = (_piece(header, header, header.span, (0, root.size), None),)
    return found, packed


def _is_unpacked(place: Blob | Folder, span: Span) -> bool:
    """Whether the bytes lie in a temporary file that was unpacked from the place, and goes by its name."""
    root, _ = span.blob.origin(span.offset)
    return root is not place and root.name == place.name


def _piece(header: Header, stored: Header, span: Span, archive: tuple[int, int], box: Box | None) -> Piece:
    root, offset = span.blob.origin(span.offset)
    return Piece(header, root, offset, stored.shape, span.strides, span.big_endian, archive, box)


def overlapping(pieces: Mapping[str, Sequence[Piece]]) -> list[set[str]]:
    """Names of tensors that share bytes, together; alone what lies in steps that meet the same element twice.

    Example:
        >>> overlapping({})
        []
    """
    every = [piece for several in pieces.values() for piece in several]
    alone = [{piece.header.name} for piece in every if piece.strides is not None and 0 in piece.strides]
    found: list[set[str]] = []
    together: set[str] = set()
    file, end = "", 0
    for piece in sorted(every, key=lambda piece: (piece.file.name, piece.offset, piece.end)):
        if piece.file.name != file or piece.offset >= end:
            found.append(together)
            together, end = set(), 0
        together.add(piece.header.name)
        file, end = piece.file.name, max(end, piece.end)
    return [*alone, *(names for names in (*found, together) if len(names) > 1)]
