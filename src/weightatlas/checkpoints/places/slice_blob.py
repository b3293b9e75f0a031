"""A part of a blob as a blob of its own: a member of an archive, or a stream inside a larger file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.checkpoints.places.blob import Blob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Buffer

    from weightatlas.checkpoints.places.blob import Folder


class SliceBlob(Blob):
    """So many bytes of a blob, from one on; it goes by the whole blob's name.

    Example:
        >>> import tempfile, pathlib
        >>> from weightatlas.checkpoints.places.blob import LocalBlob
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"0123456789") and file.flush()
        ...     SliceBlob(LocalBlob(pathlib.Path(file.name)), 2, 5).read(1, 3)
        b'345'
    """

    def __init__(self, whole: Blob, begin: int | Callable[[], int], size: int) -> None:
        """Take a part.

        Args:
            whole: what it is a part of.
            begin: its first byte, or what finds that byte when something is first read.
            size: in bytes.

        Raises:
            ValueError: it does not lie inside the whole.
        """
        self.name = whole.name
        self.size = size
        self.is_local = whole.is_local
        self._whole = whole
        self._begin = begin
        if isinstance(begin, int):
            self._check(begin)

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes from byte `offset` of the part on."""
        return self._whole.read(self._place(offset, length), length)

    def memory(self, offset: int, length: int) -> tuple[Buffer, int]:
        """Writable memory that holds a range of the part, and where in it the range begins."""
        return self._whole.memory(self._place(offset, length), length)

    def path(self) -> Path:
        """A part is no file of its own.

        Raises:
            SourceError: always.
        """
        raise SourceError(self.name, "a part of it cannot be opened as a file of its own", "unpack it first")

    def folder(self) -> Folder:
        """The folder of the whole."""
        return self._whole.folder()

    def origin(self, offset: int) -> tuple[Blob, int]:
        """The whole blob, and where in it a byte of the part lies."""
        return self._whole.origin(self._place(offset, 0))

    def _place(self, offset: int, length: int) -> int:
        if not 0 <= offset <= offset + length <= self.size:
            message = "the part is shorter than its header says"
            raise ValueError(message)
        begin = self._begin
        if not isinstance(begin, int):
            begin = self._begin = self._check(begin())
        return begin + offset

    def _check(self, begin: int) -> int:
        if not 0 <= begin <= begin + self.size <= self._whole.size:
            message = "a part lies outside the file"
            raise ValueError(message)
        return begin
