"""The stack machine that a pickle is a program for: its stack, its memo, and what it may spend.

Where a program would import or call, the machine writes a record down. What it keeps is bounded, so that no program
fills memory: text and bytes by their length, everything else by the number of opcodes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.pickles.byte_window import ByteWindow
from weightatlas.checkpoints.pickles.code_names import ATTRIBUTE, could_run_code
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent, Global, Persistent
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Container

    from weightatlas.checkpoints.places.blob import Blob

ROOM: Final = 2**26
"""The most bytes of text, bytes and large integers that are kept; longer runs are left in the file."""

LONG_TEXT: Final = 2**16
LONG_BYTES: Final = 2**10
LONG_INTEGER: Final = 2**10
MARKS: Final = 2**16
EXTENT: Final = 128
SCATTERED: Final = 128


class PickleError(ValueError):
    """A pickle that is truncated or corrupt, does what no pickle of data does, or would fill memory."""


class PickleMachine(ByteWindow):
    """A stack of values, marks in it, and a memo of values by number."""

    __slots__ = ("_admitted", "_blob_name", "_globals", "_room", "_scattered", "marks", "memo", "persistent", "stack")

    def __init__(self, blob: Blob, offset: int, admitted: Container[str] | None) -> None:
        """Stand at the first byte of a pickle, with nothing on the stack."""
        super().__init__(blob, offset)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.persistent: list[Persistent] = []
        self._scattered: dict[int, Any] = {}
        self._blob_name = blob.name
        self._admitted = admitted
        self._globals: dict[tuple[str, str], Global] = {}
        self._room = ROOM

    def pop(self) -> Any:  # noqa: ANN401 - whatever was pushed
        """Take the last value; one below a mark is not there to be taken."""
        self.top()
        return self.stack.pop()

    def top(self) -> Any:  # noqa: ANN401
        """Look at the last value."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            message = "a value is missing"
            raise PickleError(message)
        return self.stack[-1]

    def remember(self, index: int) -> None:
        """Give the last value a number; picklers count up, so a list holds them in a tenth of a dictionary's memory."""
        if index == len(self.memo):
            self.memo.append(self.top())
        elif 0 <= index < len(self.memo):
            self.memo[index] = self.top()
        else:
            self.spend(SCATTERED)
            self._scattered[index] = self.top()

    def recall(self, index: int) -> None:
        """Put the value of that number on the stack."""
        self.stack.append(self.memo[index] if 0 <= index < len(self.memo) else self._scattered[index])

    def mark(self) -> None:
        """Remember how high the stack is."""
        if len(self.marks) >= MARKS:
            message = f"more than {MARKS} open parts"
            raise PickleError(message)
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """Take all values since the last mark, and the mark."""
        if not self.marks:
            message = "a mark is missing"
            raise PickleError(message)
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def spend(self, size: int) -> None:
        """Account for so many bytes of memory."""
        self._room -= size
        if self._room < 0:
            message = f"it would fill more than {ROOM} bytes of memory"
            raise PickleError(message)

    def refusal(self, does: str) -> SourceError:
        """The error for a pickle that no one should load anywhere."""
        return SourceError(
            self._blob_name, f"not opened: its pickle {does}, which could run code", "do not use this file"
        )

    def named(self, module: object, name: object) -> Global:
        """Write a name down, once; refuse what means harm."""
        if not isinstance(module, str) or not isinstance(name, str):
            message = "it imports by what is no name"
            raise PickleError(message)
        found = self._globals.get((module, name))
        if found is None:
            self.spend(len(module) + len(name))
            found = self._globals[module, name] = Global(module, name)
            if could_run_code(module, name):
                does = f"asks for {found.path}"
                raise self.refusal(does)
            if not self._is_admitted(found):
                problem = f"not opened: its pickle asks for {found.path}, which has no place in it"
                raise SourceError(self._blob_name, problem, "do not use this checkpoint")
        return found

    def _is_admitted(self, found: Global) -> bool:
        """Whether a name, or the class that it is an attribute of, may stand in this pickle."""
        if self._admitted is None or found.path in self._admitted or found.path in ATTRIBUTE:
            return True
        return f"{found.module}.{found.name.partition('.')[0]}" in self._admitted

    def call(self, function: object, arguments: object, keywords: object = None) -> None:
        """Write a call down in place of its result."""
        if isinstance(function, Call):
            does = f"calls what {function.path} returns"
            raise self.refusal(does)
        if not isinstance(function, Global | Persistent) or not isinstance(arguments, tuple):
            message = "it calls what is no function"
            raise PickleError(message)
        if isinstance(function, Global) and function.path in ATTRIBUTE:
            self.stack.append(self._attribute(function, arguments))
        else:
            self.stack.append(Call(function, arguments, keywords))

    def _attribute(self, function: Global, arguments: tuple[Any, ...]) -> Global | Call:
        """An attribute of a name is a longer name, and means harm if that does; of an object, one more record."""
        target, name = arguments if len(arguments) == 2 else (None, None)
        if isinstance(name, str) and isinstance(target, Global):
            return self.named(target.module, f"{target.name}.{name}")
        if isinstance(name, str) and isinstance(target, Call) and not name.startswith("__"):
            return Call(function, arguments)
        does = f"asks for {function.path}"
        raise self.refusal(does)

    def keep(self, identity: object) -> None:
        """Write a reference to an object outside the pickle down."""
        self.persistent.append(Persistent(identity))
        self.stack.append(self.persistent[-1])

    def text(self, length: int) -> str | Extent:
        """UTF-8 of that many bytes."""
        if length >= LONG_TEXT:
            self.spend(EXTENT)
            return Extent(self.skip(length), length, is_text=True)
        self.spend(length)
        return self.take(length).decode("utf-8", "surrogatepass")

    def data(self, length: int) -> bytes | Extent:
        """That many bytes."""
        if length >= LONG_BYTES:
            self.spend(EXTENT)
            return Extent(self.skip(length), length)
        return self.take(length)

    def old_text(self, length: int) -> str | bytes | Extent:
        """A `str` of Python 2: text where it is ASCII, else bytes."""
        data = self.data(length)
        return data.decode("ascii") if isinstance(data, bytes) and data.isascii() else data

    def name_line(self) -> str:
        """A line of text, for a name."""
        return self.short_line().decode("utf-8")

    def short_line(self) -> bytes:
        """A line that no honest pickle makes long."""
        line = self.line()
        if len(line) > LONG_INTEGER:
            message = f"a number or name of {len(line)} bytes"
            raise PickleError(message)
        return line

    def number(self, pattern: str) -> int:
        """An integer of fixed width."""
        return int(struct.unpack(pattern, self.take(struct.calcsize(pattern)))[0])

    def long_integer(self, length: int) -> int:
        """A little-endian integer of any sign and that many bytes."""
        if not 0 <= length <= LONG_INTEGER:
            message = f"an integer of {length} bytes"
            raise PickleError(message)
        self.spend(length)
        return int.from_bytes(self.take(length), "little", signed=True)
