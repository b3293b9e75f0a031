"""Other values into the copy of a file: each tensor where it lies, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.writing.encoding import as_stored, elements
from weightatlas.errors import SourceError
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import numpy.typing as npt
    import torch

    from weightatlas.checkpoints.places.blob import Blob
    from weightatlas.checkpoints.writing.pieces import Piece

    Values = Callable[[str], torch.Tensor | None]

COPIED: Final = 16 * 2**20
"""Bytes that are copied at a time."""


def copy_blob(blob: Blob, path: Path) -> None:
    """Copy a file, or an object behind a URL, to a path."""
    with path.open("wb") as file:
        for start in range(0, blob.size, COPIED):
            file.write(blob.read(start, min(COPIED, blob.size - start)))


def overlay(path: Path, pieces: Sequence[Piece], values: Values, *, shared: Container[str], source: str) -> list[Piece]:
    """Put values into a copy of a file.

    Args:
        path: the copy.
        pieces: of one file.
        values: gives a tensor by its name; None keeps what is there.
        shared: names of tensors that share elements: these are compared with what was asked for once all are written.
        source: the name for errors.

    Returns:
        The pieces that were written.

    Raises:
        SourceError: values do not fit, or tensors that share elements are to have different ones.
    """
    written: list[Piece] = []
    with path.open("r+b") as file:
        for piece in sorted(pieces, key=lambda piece: piece.offset):
            wanted = _wanted(piece, values, source)
            if wanted is not None:
                _write(file, piece, wanted)
                written.append(piece)
        for piece in written:
            if piece.header.name not in shared:
                continue
            wanted = _wanted(piece, values, source)
            if wanted is not None and not _holds(file, piece, wanted):
                shown = printable(piece.header.name, limit=80)
                problem = f"{shown!r} shares elements with another tensor of the file, and the two are to differ"
                raise SourceError(source, problem, "give both the same values")
    return written


def _wanted(piece: Piece, values: Values, source: str) -> npt.NDArray[np.void] | None:
    """The elements that a piece is to have."""
    given = values(piece.header.name)
    if given is None:
        return None
    stored = as_stored(given, piece.header, source)
    if piece.box is not None:
        ends = zip(piece.box.offsets, piece.box.sizes, strict=True)
        stored = stored[tuple(slice(start, start + size) for start, size in ends)]
    return elements(stored, big_endian=piece.big_endian)


def _write(file: BinaryIO, piece: Piece, wanted: npt.NDArray[np.void]) -> None:
    if piece.strides is None:
        file.seek(piece.offset)
        file.write(wanted.reshape(-1).view(np.uint8).data)
        return
    held, view = _strided(file, piece)
    view[...] = wanted
    file.seek(piece.offset)
    file.write(held)


def _holds(file: BinaryIO, piece: Piece, wanted: npt.NDArray[np.void]) -> bool:
    if piece.strides is None:
        file.seek(piece.offset)
        return file.read(piece.end - piece.offset) == wanted.tobytes()
    return _strided(file, piece)[1].tobytes() == wanted.tobytes()


def _strided(file: BinaryIO, piece: Piece) -> tuple[bytearray, npt.NDArray[np.void]]:
    """The bytes from a piece's first element to its last, and the elements among them."""
    item = ITEM_SIZES[piece.header.dtype]
    file.seek(piece.offset)
    held = bytearray(file.read(piece.end - piece.offset))
    steps = [step * item for step in piece.strides or ()]
    return held, np.ndarray(piece.shape, dtype=f"V{item}", buffer=held, strides=steps)
