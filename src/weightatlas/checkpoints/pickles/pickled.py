"""Read a pickle as data: nothing is imported, nothing is called, no class is looked up.

A pickle is a program for a small stack machine. Here the machine builds plain containers and scalars, and where the
program would import a name or call something it writes that down. So a pickle of any origin can be looked into.
"""

from __future__ import annotations

import gc
import pickle
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.pickles.pickle_machine import PickleError, PickleMachine
from weightatlas.checkpoints.pickles.pickle_opcodes import OPERATIONS
from weightatlas.checkpoints.pickles.pickle_records import Pickle
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from weightatlas.checkpoints.places.blob import Blob

LONGEST: Final = 10_000_000
"""The most opcodes: a state of 100,000 tensors has some 3 million. One makes at most some 90 bytes."""

_STOP: Final = pickle.STOP[0]


def read_pickle(
    blob: Blob, offset: int = 0, *, admitted: Container[str] | None = None, longest: int = LONGEST
) -> Pickle:
    """Read the pickle that begins at a byte of a blob.

    Args:
        blob: what it lies in.
        offset: its first byte.
        admitted: the full names that it may hold ("torch.Size"); None lets all pass but those that mean harm.
        longest: the most opcodes; less for a pickle beside the one that holds the weights.

    Returns:
        Its value and where it ends. Dictionaries, lists, tuples, sets, text, bytes and numbers are themselves; what
        would be imported or called is a `Global`, a `Call` or a `Persistent`; bytes of 1 KiB and more and text of
        64 KiB and more stay where they are, as an `Extent`.

    Raises:
        SourceError: it names what could run code, or what is not admitted.
        PickleError: it is truncated, corrupt or too large.

    **Source:** protocols 0 to 5 as `pickletools` in Python's standard library documents them.
    """
    machine = PickleMachine(blob, offset, admitted)
    try:
        with _without_collection():
            return _run(machine, longest)
    except (SourceError, PickleError):
        raise
    except EOFError as error:
        raise PickleError(str(error)) from error
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        message = "it is no pickle, or a corrupt one"
        raise PickleError(message) from error


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the collector of cycles from walking millions of new containers again and again: a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _run(machine: PickleMachine, longest: int) -> Pickle:
    for _ in repeat(None, longest):
        position = machine.position
        if position < len(machine.window):
            opcode = machine.window[position]
            machine.position = position + 1
        else:
            opcode = machine.take(1)[0]
        if opcode == _STOP:
            return Pickle(machine.pop(), machine.start + machine.position, machine.persistent)
        operation = OPERATIONS[opcode]
        if operation is None:
            message = f"byte {opcode:#04x} is no opcode that a checkpoint has"
            raise PickleError(message)
        operation(machine)
    message = f"more than {longest} opcodes"
    raise PickleError(message)
