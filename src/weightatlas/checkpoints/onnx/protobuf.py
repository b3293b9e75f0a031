"""The wire format of protocol buffers, walked over a blob: what is not asked for is passed by, never read.

A file of 10 GB is gone through by its tags and lengths alone. The format's own library reads a whole file into memory,
takes at most 2 GB, and merges or ignores what does not fit; here every field that cannot be is refused.

**Source:** the encoding of protocol buffers. Unlike there, groups (deprecated) are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.checkpoints.window import Window
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from weightatlas.checkpoints.places.blob import Blob

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5
FIELD_LIMIT: Final = 2_000_000
"""The most fields of one file: going through them takes some seconds. Graphs of 50,000 nodes have half as many."""
TEXT_LIMIT: Final = 64 * 2**20
"""The most bytes of names and other texts of one file."""
_LONGEST: Final = 10  # bytes of a varint
_AHEAD: Final = 2 * _LONGEST  # a tag and a length
_PIECE: Final = 2**20


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: which field of its message.
        wire: how it is written: `VARINT`, `FIXED64`, `LENGTH` or `FIXED32`.
        value: the number of a varint, else 0.
        start: the byte where its payload begins.
        end: the byte behind it.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int


class WireReader:
    """Walks the messages of one blob, and keeps count, so that no file can keep it busy for long or fill memory."""

    def __init__(self, blob: Blob) -> None:
        """Nothing is read yet."""
        self.name = blob.name
        self._window = Window(blob)
        self._size = blob.size
        self._fields = 0
        self._text = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message between two bytes, in the order of the file; payloads are passed by.

        Raises:
            SourceError: a field is no field, goes beyond its message, or there are too many.
        """
        around = self._window.around
        position = start
        while position < end:
            data, index = around(position, min(_AHEAD, self._size - position))
            tag, after = self._varint(data, index, position)
            wire, value, payload = tag & 7, 0, position + after - index
            if wire == LENGTH:
                length, last = self._varint(data, after, position)
                payload = position + last - index
                stop = payload + length
            elif wire == VARINT:
                value, last = self._varint(data, after, position)
                stop = position + last - index
            elif wire in {FIXED32, FIXED64}:
                stop = payload + (4 if wire == FIXED32 else 8)
            else:
                raise corrupt(self.name, f"a field of wire type {wire} at byte {position}")
            if stop > end or tag < 8:
                beyond = "the file: truncated" if end == self._size else "its message"
                what = f"goes beyond {beyond}" if tag >= 8 else "has no number"
                raise corrupt(self.name, f"the field at byte {position} {what}")
            self._fields += 1
            if self._fields > FIELD_LIMIT:
                raise SourceError(self.name, f"has more than {FIELD_LIMIT} fields", "do not use this checkpoint")
            yield Field(tag >> 3, wire, value, payload, stop)
            position = stop

    def _varint(self, data: bytes, index: int, position: int) -> tuple[int, int]:
        try:
            return varint(data, index)
        except ValueError as error:
            raise corrupt(self.name, f"{error} at byte {position}") from error

    def payload(self, field: Field) -> bytes:
        """The bytes of a field.

        Raises:
            SourceError: all that was read of this blob together is too long to be names and other texts.
        """
        length = field.end - field.start
        self._text += length
        if self._text > TEXT_LIMIT:
            raise SourceError(self.name, f"has more than {TEXT_LIMIT} bytes of names", "do not use this checkpoint")
        return self._window.read(field.start, length)

    def text(self, field: Field, what: str) -> str:
        """A field as text; `what` names it in errors.

        Raises:
            SourceError: it is no text, or too long.
        """
        self.expect(field, LENGTH, what)
        try:
            return self.payload(field).decode()
        except UnicodeDecodeError as error:
            raise corrupt(self.name, f"{what} is no text") from error

    def number(self, field: Field, what: str) -> int:
        """A varint as a signed number of 64 bits; `what` names it in errors.

        Raises:
            SourceError: it is no varint.
        """
        self.expect(field, VARINT, what)
        return field.value - 2**64 if field.value >= 2**63 else field.value

    def numbers(self, field: Field, what: str) -> Iterator[int]:
        """A repeated varint as signed numbers, whether it is packed or not.

        Raises:
            SourceError: it is no varint, or a packed one is cut short.
        """
        if field.wire != LENGTH:
            yield self.number(field, what)
            return
        data, index = self.payload(field), 0
        while index < len(data):
            value, index = self._varint(data, index, field.start)
            yield value - 2**64 if value >= 2**63 else value

    def expect(self, field: Field, wire: int, what: str) -> None:
        """Refuse a field that is written in another way than its type is.

        Raises:
            SourceError: it is.
        """
        if field.wire != wire:
            raise corrupt(self.name, f"{what} at byte {field.start} has wire type {field.wire}, not {wire}")

    def gather(self, start: int, end: int, number: int) -> bytearray:
        """The payloads of a repeated field of numbers, packed or not, one behind another."""
        data = bytearray()
        for field in self.fields(start, end):
            if field.number != number:
                continue
            first = field.start
            for position in range(first, field.end, _PIECE):
                data += self._window.read(position, min(_PIECE, field.end - position))
        return data


def corrupt(source: str, problem: str) -> SourceError:
    """The error of a file that breaks the format."""
    return SourceError(source, f"corrupt: {problem}", REMEDY)


def varint(data: bytes, index: int) -> tuple[int, int]:
    r"""The number that begins at an index, and the index behind it.

    Raises:
        ValueError: it has no end, or more than 64 bits.

    Example:
        >>> varint(b"\x96\x01", 0)
        (150, 2)
    """
    value = shift = 0
    for byte in data[index : index + _LONGEST]:
        value |= (byte & 0x7F) << shift
        shift += 7
        index += 1
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, index
    message = "a number of more than 64 bits" if shift == 7 * _LONGEST else "a number without an end"
    raise ValueError(message)


def decode_varints(data: bytearray, count: int, width: int) -> bytearray:
    r"""Packed varints as little-endian numbers of a fixed width, of which the higher bits are left out.

    Args:
        data: the varints, one behind another.
        count: how many there must be.
        width: bytes of each number: 1, 2, 4 or 8.

    Raises:
        ValueError: there are more or fewer, one has no end, or more than 64 bits.

    Example:
        >>> list(decode_varints(bytearray(b"\x03\x96\x01"), 2, 1))
        [3, 150]
    """
    numbers = bytearray(count * width)
    done = start = 0
    while start < len(data):
        piece, stop = _decode_piece(data, start)
        if done + len(piece) > count:
            break
        numbers[done * width : (done + len(piece)) * width] = piece.astype(f"<u{width}").tobytes()
        done, start = done + len(piece), stop
    if done != count or start != len(data):
        message = f"its shape needs {count} numbers, there are {'more' if start < len(data) else done}"
        raise ValueError(message)
    return numbers


def _decode_piece(data: bytearray, start: int) -> tuple[NDArray[np.uint64], int]:
    """The varints that end within a piece, and the byte behind them: arrays of one number a byte fit in memory."""
    import numpy as np  # reading only: listing runs without it

    raw = np.frombuffer(data, dtype=np.uint8, count=min(_PIECE, len(data) - start), offset=start)
    ends = np.flatnonzero(raw < 0x80)
    if not len(ends):
        message = "a number without an end"
        raise ValueError(message)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > _LONGEST or (longest == _LONGEST and raw[ends[lengths == _LONGEST]].max() > 1):
        message = "a number of more than 64 bits"
        raise ValueError(message)
    values = np.zeros(len(ends), dtype=np.uint64)
    for place in range(longest):
        there = lengths > place
        digits = raw[starts[there] + place].astype(np.uint64) & np.uint64(0x7F)
        values[there] |= digits << np.uint64(7 * place)
    return values, start + int(ends[-1]) + 1
