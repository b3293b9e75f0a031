"""A blob read through a window that slides: one small read for each jump, fewer and larger ones where reading goes on.

A header that is strewn over a file, as ONNX has it, then costs little behind a URL, and one that lies in one piece is
read at the speed of the disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob

SMALLEST: Final = 4096
LARGEST: Final = 2**20


class Window:
    """What lies around a place in a blob.

    Attributes:
        blob: what is looked at.
    """

    def __init__(self, blob: Blob) -> None:
        """Nothing is read yet."""
        self.blob = blob
        self._data = b""
        self._start = 0
        self._step = SMALLEST

    def around(self, position: int, length: int) -> tuple[bytes, int]:
        """Bytes of the blob, and the index among them of `position`; at least `length` follow.

        Raises:
            ValueError: the blob ends before that.
        """
        index = position - self._start
        if index < 0 or index + length > len(self._data):
            self._slide(position, length)
            index = 0
        return self._data, index

    def read(self, position: int, length: int) -> bytes:
        """Exactly `length` bytes from byte `position` on.

        Raises:
            ValueError: the blob ends before that.
        """
        data, index = self.around(position, length)
        return data[index : index + length]

    def _slide(self, position: int, length: int) -> None:
        goes_on = 0 <= position - self._start <= len(self._data)
        self._step = min(2 * self._step, LARGEST) if goes_on else SMALLEST
        if position + length > self.blob.size:
            message = f"it ends at byte {self.blob.size}, {position + length} are needed"
            raise ValueError(message)
        self._data = self.blob.read(position, max(length, min(self._step, self.blob.size - position)))
        self._start = position
