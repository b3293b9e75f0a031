"""Read a blob from front to back without knowing where to stop: through a window that grows as it moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob

FIRST: Final = 2**16
LARGEST: Final = 2**22
LINE_LIMIT: Final = 2**26


class ByteWindow:
    """A position in a blob, and the bytes around it.

    Attributes:
        window: bytes of the blob from `start` on.
        position: in the window, of the byte that comes next.
        start: where in the blob the window begins.
    """

    __slots__ = ("_blob", "_next", "position", "start", "window")

    def __init__(self, blob: Blob, offset: int) -> None:
        """Stand at a byte; nothing is read yet."""
        self._blob = blob
        self._next = FIRST
        self.window = b""
        self.position = 0
        self.start = offset

    def take(self, length: int) -> bytes:
        """The next bytes, exactly so many.

        Raises:
            EOFError: the blob ends before that.
        """
        begin = self.position
        end = begin + length
        if end > len(self.window):
            self._slide(length)
            begin, end = 0, length
        self.position = end
        return self.window[begin:end]

    def line(self) -> bytes:
        """The next bytes to the end of their line, which is passed and left out.

        Raises:
            EOFError: the line does not end.
        """
        wanted = 0
        while (end := self.window.find(b"\n", self.position + wanted)) < 0:
            wanted = len(self.window) - self.position
            if wanted >= LINE_LIMIT:
                message = "a line that does not end"
                raise EOFError(message)
            self._slide(wanted + 1)
        begin, self.position = self.position, end + 1
        return self.window[begin:end]

    def skip(self, length: int) -> int:
        """Pass so many bytes without reading them; where in the blob they begin.

        Raises:
            EOFError: the blob ends before that.
        """
        begin = self.start + self.position
        if length > self._blob.size - begin:
            raise EOFError(_END)
        self.position += length
        if self.position > len(self.window):
            self.start, self.position, self.window = begin + length, 0, b""
        return begin

    def _slide(self, wanted: int) -> None:
        """Move the window to the position and make it at least so wide."""
        self.start += self.position
        self.window = self.window[self.position :]
        self.position = 0
        behind = self.start + len(self.window)
        length = min(max(wanted - len(self.window), self._next), self._blob.size - behind)
        if len(self.window) + length < wanted:
            raise EOFError(_END)
        self.window += self._blob.read(behind, length)
        self._next = min(2 * self._next, LARGEST)


_END: Final = "it ends in the middle"
