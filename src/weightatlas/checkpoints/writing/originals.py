"""The checkpoint whose format is kept: its place, its files, and where in them its tensors lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.arranging import laid_out
from weightatlas.checkpoints.bounded_names import bounded_names
from weightatlas.checkpoints.checkpoint import Checkpoint
from weightatlas.checkpoints.opening import open_location
from weightatlas.checkpoints.pickles.distributed import is_distributed
from weightatlas.checkpoints.places.blob import Blob, LocalBlob, LocalFolder, inside
from weightatlas.checkpoints.places.hub_cache import cache_snapshot
from weightatlas.checkpoints.places.locations import locate, public_name
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.writing.pieces import Piece, pieces_of
from weightatlas.checkpoints.zoo import ZOOS
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints.contents import Contents, Header, Layout
    from weightatlas.checkpoints.places.blob import Folder

BESIDE: Final = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".md", ".py")
"""Endings of what lies beside the weights of a Hugging Face folder and belongs to the network: configuration, words."""

BESIDE_LIMIT: Final = 256 * 2**20
"""The most bytes of one such file."""


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """A checkpoint in files.

    Attributes:
        name: what the user calls it.
        place: the file or folder it lies in; the folder of an index that was named.
        contents: what its format found.
        headers: of its tensors, by name, laid out as `open_checkpoint` gives them.
        pieces: where each lies, by name.
        packed: why there is nowhere to write others, by name.
        layout: as it was asked for.
        index: the file of a folder that was named, if it is an index.
    """

    name: str
    place: Blob | Folder
    contents: Contents
    headers: Mapping[str, Header]
    pieces: Mapping[str, tuple[Piece, ...]]
    packed: Mapping[str, str]
    layout: Layout | None
    index: str = ""

    @property
    def folder(self) -> Folder:
        """The folder itself, or that of the file."""
        return self.place.folder() if isinstance(self.place, Blob) else self.place

    def files(self) -> dict[str, Blob]:
        """The files that hold tensors, by their names below the folder; a file on its own first.

        Raises:
            SourceError: one lies outside the folder.
        """
        blobs = [self.place] if isinstance(self.place, Blob) else []
        blobs += [piece.file for several in self.pieces.values() for piece in several]
        by_name = {blob.name: blob for blob in reversed(blobs)}
        return {self.relative(by_name[name]): by_name[name] for name in dict.fromkeys(blob.name for blob in blobs)}

    def relative(self, blob: Blob) -> str:
        """A file's name below the folder."""
        folder = self.folder
        if isinstance(blob, LocalBlob) and isinstance(folder, LocalFolder):
            return blob.path().relative_to(folder.path).as_posix()
        return str(inside(folder.name, blob.name.removeprefix(folder.name).lstrip("/")))

    def beside(self) -> tuple[str, ...]:
        """Names of the files of a folder that belong to the weights and hold none of them."""
        if isinstance(self.place, Blob):
            return ()
        written = self.files()
        listing = self.place.files()
        if is_distributed(self.place):
            return tuple(name for name in listing if name not in written)
        return tuple(
            name
            for name, size in listing.items()
            if name not in written
            and not name.startswith(".")
            and size <= BESIDE_LIMIT
            and name.lower().endswith(BESIDE)
            and self._belongs(name, written)
        )

    def _belongs(self, name: str, written: Mapping[str, Blob]) -> bool:
        """Whether a file says nothing of weights, or is the index of those that are written."""
        if not name.endswith(".index.json"):
            return True
        stem = PurePosixPath(name.removesuffix(".index.json"))
        return any(file.startswith(f"{stem.stem}-") and PurePosixPath(file).suffix == stem.suffix for file in written)


def original(
    source: str | os.PathLike[str] | Checkpoint,
    *,
    layout: Layout | None = None,
    storage_options: Mapping[str, object] | None = None,
) -> Original:
    """Open a checkpoint for its format.

    Raises:
        SourceError: it cannot be used, or lies in no file.
    """
    if isinstance(source, Checkpoint):
        source, given = _named(source)
        layout, storage_options = given.get("layout"), given.get("storage_options")
    text = os.fsdecode(source)
    if text.partition(":")[0] in ZOOS and not Path(text).exists():
        raise _in_memory(text)
    name = public_name(text)
    place = locate(text, storage_options=storage_options)
    if not isinstance(place, Blob):
        snapshot = cache_snapshot(place)
        place = place if snapshot is None else snapshot[0]
    contents, index = open_location(place), ""
    if isinstance(place, Blob) and place.filename.endswith(".index.json"):
        index = place.filename
        place = place.folder()
    return of_contents(name, place, contents, layout, index=index)


def of_contents(
    name: str, place: Blob | Folder, contents: Contents, layout: Layout | None, *, index: str = ""
) -> Original:
    """The original that lies in a place, by what was found there."""
    headers, _ = laid_out(contents, layout)
    headers, _ = bounded_names(name, headers)
    with untrusted(name, "its tensors cannot be found in its files"):
        pieces, packed = pieces_of(place, headers)
    by_name = {header.name: header for header in headers}
    return Original(name, place, contents, by_name, pieces, packed, layout, index)


def _named(checkpoint: Checkpoint) -> tuple[str, Mapping[str, Any]]:
    """What a checkpoint was opened by, and the options it was opened with."""
    try:
        reopen = checkpoint.__reduce__()[0]
    except TypeError:
        raise _in_memory(checkpoint.source) from None
    if not isinstance(reopen, partial) or len(reopen.args) != 1:
        raise SourceError(checkpoint.source, "a checkpoint of a run", "name its file")
    return os.fsdecode(reopen.args[0]), reopen.keywords


def _in_memory(name: str) -> SourceError:
    return SourceError(name, "weights that lie in no file have no format to keep", "name a file or a folder")
