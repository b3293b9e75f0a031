"""Bytes with a name: a file on this disk, or an object behind a URL. Formats read from these and from nothing else.

A format asks for ranges. On this disk a range is mapped; behind a URL it is one request, so that a list of layers costs
the headers alone.
"""

from __future__ import annotations

import io
import mmap
import os
import stat
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from weightatlas.checkpoints.recognition import describe_special
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

BUFFER: Final = 65536


class Blob(ABC):
    """A named sequence of bytes that can be read in ranges.

    Attributes:
        name: as messages and `TensorInfo.file` say it: a path or a URL.
        size: in bytes.
        is_local: whether ranges are mapped from this disk: a tensor costs no memory until it is looked at.
    """

    name: str
    size: int
    is_local: bool

    @property
    def filename(self) -> str:
        """The last part of the name."""
        return self.name.rstrip("/").replace("\\", "/").rpartition("/")[2]

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes from byte `offset` on.

        Raises:
            ValueError: the blob ends before that.
        """

    @abstractmethod
    def memory(self, offset: int, length: int) -> tuple[Buffer, int]:
        """Writable memory that holds a range, and where in it the range begins; writing never reaches the blob.

        Raises:
            SourceError: the blob is not what it was when it was opened.
            ValueError: the blob ends before the range does.
        """

    @abstractmethod
    def path(self) -> Path:
        """The bytes as a file on this disk, for libraries that need one; an object behind a URL is downloaded once."""

    @abstractmethod
    def folder(self) -> Folder:
        """What the blob lies in."""

    def origin(self, offset: int) -> tuple[Blob, int]:
        """The whole blob that a byte lies in, and where in that; a part of one says so."""
        return self, offset

    def open(self) -> BinaryIO:
        """A seekable, buffered stream over the blob, for parsers that want a file."""
        return io.BufferedReader(_Stream(self), BUFFER)


class Folder(ABC):
    """A place that holds blobs by name.

    Attributes:
        name: a path or a URL.
    """

    name: str

    @abstractmethod
    def files(self) -> Mapping[str, int]:
        """Names and sizes of the files that lie directly in it, sorted; hidden ones too."""

    @abstractmethod
    def folders(self) -> tuple[str, ...]:
        """Names of the folders that lie directly in it, sorted."""

    @abstractmethod
    def blob(self, name: str) -> Blob:
        """A file in it or below it, by a relative name with "/" between its parts.

        Raises:
            SourceError: the name leaves the folder, by ".." or by a link, or there is no such file.
        """

    @abstractmethod
    def folder(self, name: str) -> Folder:
        """A folder directly in it."""


class LocalBlob(Blob):
    """A file on this disk, as it was when it was opened."""

    is_local = True

    def __init__(self, path: Path) -> None:
        """Take the file's size and identity.

        Raises:
            SourceError: it is no ordinary file, or may not be looked at.
            FileNotFoundError: there is none.
        """
        self._path = path
        self.name = str(path)
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(path, f"{describe_special(state.st_mode)}, no file", "give a file or a folder")
        self.size = state.st_size
        self._identity = _identity(state)

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes from byte `offset` on."""
        with self.open() as file:
            file.seek(offset)
            data = file.read(length) if offset + length <= self.size else b""
        if len(data) < length:
            message = "the file is shorter than its header says"
            raise ValueError(message)
        return data

    def memory(self, offset: int, length: int) -> tuple[mmap.mmap | bytearray, int]:
        """Map a range privately, from the page it begins on; it covers the range alone, whatever the file's size."""
        if length == 0:
            return bytearray(), 0
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        with self.open() as file:
            if offset + length > self.size:
                message = "the file is shorter than its header says"
                raise ValueError(message)
            mapped = mmap.mmap(file.fileno(), offset - start + length, access=mmap.ACCESS_COPY, offset=start)
        return mapped, offset - start

    def path(self) -> Path:
        """The file itself."""
        return self._path

    def folder(self) -> LocalFolder:
        """The folder it lies in."""
        return LocalFolder(self._path.parent)

    def open(self) -> BinaryIO:
        """The file, opened to read.

        Raises:
            SourceError: it is not what it was: written, replaced or cut short since.
        """
        without_waiting = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe may have taken its place
        file = os.fdopen(os.open(self._path, os.O_RDONLY | without_waiting), "rb")
        if _identity(os.fstat(file.fileno())) != self._identity:
            file.close()
            raise SourceError(self.name, "changed since it was opened", "open it again once it is written")
        return file


def _identity(state: os.stat_result) -> tuple[int, int, int, int]:
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns  # the last cannot be set back


class LocalFolder(Folder):
    """A folder on this disk. What is in it is untrusted: a name or a link that leaves it is refused."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is looked at yet."""
        self.path = path
        self.name = str(path)

    def files(self) -> dict[str, int]:
        """Names and sizes of the files in it, sorted; a link that leads nowhere is left out."""
        found = {}
        for child in sorted(self.path.iterdir()):
            try:
                state = child.stat()
            except OSError:
                continue
            if stat.S_ISREG(state.st_mode):
                found[child.name] = state.st_size
        return found

    def folders(self) -> tuple[str, ...]:
        """Names of the folders in it, sorted."""
        return tuple(sorted(child.name for child in self.path.iterdir() if child.is_dir()))

    def blob(self, name: str) -> LocalBlob:
        """A file in it or below it."""
        parts = inside(self.name, name)
        target = self.path / parts
        with untrusted(self.name, f"{name!r} in it cannot be opened", "download it again"):
            if not target.exists():
                raise SourceError(self.name, f"{name} is missing", "download it as well")
            if not _stays(target, self.path):
                raise SourceError(
                    self.name, f"{name} is a link that leaves the folder", "give the file it leads to, if you trust it"
                )
            return LocalBlob(target)

    def folder(self, name: str) -> LocalFolder:
        """A folder in it."""
        target = self.path / inside(self.name, name)
        if not _stays(target, self.path):
            raise SourceError(self.name, f"{name} is a link that leaves the folder", "give the folder it leads to")
        return LocalFolder(target)


def inside(folder: str, name: str) -> PurePosixPath:
    """A relative name as a path that stays below its folder.

    Raises:
        SourceError: it does not: it is empty or absolute, goes up, or is another system's path.

    Example:
        >>> inside("llama", "shards/model-00001-of-00002.safetensors").name
        'model-00001-of-00002.safetensors'
    """
    parts = PurePosixPath(name)
    odd = not name or any(sign in name for sign in ("\0", "\\", ":"))
    if odd or parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise SourceError(folder, f"names {name[:120]!r}, outside its folder", "do not use this checkpoint")
    return parts


def _stays(target: Path, folder: Path) -> bool:
    """Whether links lead nowhere but into the folder; a Hub cache's snapshot may link to the blobs beside it."""
    resolved, root = target.resolve(), folder.resolve()
    if resolved.is_relative_to(root):
        return True
    cache = next((parent.parent for parent in (root, *root.parents) if parent.name == "snapshots"), None)
    return cache is not None and resolved.is_relative_to(cache / "blobs")


class _Stream(io.RawIOBase):
    """A blob as a raw stream; the buffer around it keeps requests few."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._blob.size}[whence]
        if base + offset < 0:
            message = "a position before the beginning"
            raise ValueError(message)
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        length = max(0, min(len(view), self._blob.size - self._position))
        if length:
            view[:length] = self._blob.read(self._position, length)
        self._position += length
        return length
