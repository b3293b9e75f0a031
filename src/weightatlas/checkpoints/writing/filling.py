"""The files of a checkpoint again, with other values: a file on its own, or a folder."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from weightatlas.checkpoints.opening import open_location
from weightatlas.checkpoints.places.blob import Blob, LocalBlob, LocalFolder
from weightatlas.checkpoints.writing.checksums import repair_checksums
from weightatlas.checkpoints.writing.encoding import as_stored, elements
from weightatlas.checkpoints.writing.originals import of_contents
from weightatlas.checkpoints.writing.overlay import copy_blob, overlay
from weightatlas.checkpoints.writing.pieces import overlapping
from weightatlas.checkpoints.writing.repacking import is_deflated, repack, unpack
from weightatlas.errors import SourceError
from weightatlas.files import replacing
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from weightatlas.checkpoints.contents import Header
    from weightatlas.checkpoints.writing.originals import Original
    from weightatlas.checkpoints.writing.overlay import Values


def write_file(found: Original, path: Path, values: Values) -> tuple[str, ...]:
    """Write a file, and those beside it that hold its elements; give their names."""
    (_, main), *others = found.files().items()
    if is_deflated(main):
        _write_deflated(found, main, path, values)
        return (path.name,)
    _check_packed(found, values)
    for name, blob in others:
        with replacing(path.parent / name) as temporary:
            _fill(found, blob, temporary, values)
    with replacing(path) as temporary:
        _fill(found, main, temporary, values)
        _check_written(found, open_location(LocalBlob(temporary)).headers, path)
    return (path.name, *(name for name, _ in others))


def _write_deflated(found: Original, blob: Blob, path: Path, values: Values) -> None:
    with replacing(path) as temporary, tempfile.TemporaryDirectory(prefix=".unpacked-", dir=path.parent) as folder:
        plain = Path(folder) / path.name
        unpack(blob, plain)
        place = LocalBlob(plain)
        inner = of_contents(found.name, place, open_location(place), found.layout)
        _put(inner, place, plain, values)
        _check_packed(inner, values)
        repack(plain, blob, temporary)
        _check_written(found, open_location(LocalBlob(temporary)).headers, path)


def write_folder(found: Original, path: Path, values: Values) -> tuple[str, ...]:
    """Write a folder: the files that hold tensors, and those that belong to them; give their names."""
    files, beside = found.files(), found.beside()
    _check_packed(found, values)
    with new_folder(path) as temporary:
        for name, blob in files.items():
            part = temporary / name
            part.parent.mkdir(parents=True, exist_ok=True)
            _fill(found, blob, part, values)
        for name in beside:
            copy_blob(found.folder.blob(name), temporary / name)
        made = LocalFolder(temporary)
        _check_written(found, open_location(made.blob(found.index) if found.index else made).headers, path)
    return (*files, *beside)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside a path; rename it to the path if the block ends well, remove it if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name[:40]}-", dir=path.parent) as name:
        inner = Path(name) / path.name  # made by mkdir, so that it is as open to others as the user's folders are
        inner.mkdir()
        yield inner
        inner.rename(path)


def _fill(found: Original, blob: Blob, path: Path, values: Values) -> None:
    copy_blob(blob, path)
    _put(found, blob, path, values)


def _put(found: Original, blob: Blob, path: Path, values: Values) -> None:
    """Put the values of a file's tensors into its copy, and set right what tells of its bytes."""
    pieces = [piece for several in found.pieces.values() for piece in several if piece.file.name == blob.name]
    shared = set[str]().union(*overlapping(found.pieces))
    written = overlay(path, pieces, values, shared=shared, source=found.name)
    archives: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for piece in written:
        archives.setdefault(piece.archive, []).append((piece.offset, piece.end))
    for (begin, length), touched in archives.items():
        repair_checksums(path, begin, length, touched)


def _check_packed(found: Original, values: Values) -> None:
    """See that what lies nowhere plainly is to stay, and that what has no elements fits."""
    for name, header in found.headers.items():
        if name not in found.packed and header.nbytes:
            continue
        given = values(name)
        if given is None:
            continue
        wanted = elements(as_stored(given, header, found.name), big_endian=False)
        if header.nbytes and wanted.tobytes() != elements(found.contents.read(name), big_endian=False).tobytes():
            shown = printable(name, limit=80)
            problem = f"{shown!r} cannot take values: {found.packed[name]}"
            raise SourceError(found.name, problem, "save the source uncompressed, or as safetensors")


def _check_written(found: Original, headers: Sequence[Header], path: Path) -> None:
    """See that what was written opens as what it is a copy of."""
    ours = {header.name: (header.shape, header.dtype) for header in found.contents.headers}
    theirs = {header.name: (header.shape, header.dtype) for header in headers}
    if ours != theirs:
        problem = f"what was written does not open as {printable(found.name, limit=200)} does"
        raise SourceError(path, problem, "nothing was left there; please report this file's format")
