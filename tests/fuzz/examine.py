"""Open one file as a user would, list it, read every tensor: tensors, rows or one line, and nothing else."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from weightatlas.anatomy.listing import layer_rows
from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.result import json_line

SECONDS: Final = 10.0
READ_LIMIT: Final = 64 * 2**20
MEMORY_LIMIT: Final = 2**30
FORBIDDEN: Final = frozenset(
    {"os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile"}
    | {"pickle.find_class", "socket.connect", "urllib.Request", "webbrowser.open", "shutil.rmtree", "pty.spawn"}
)
STATUS: Final = Path("/proc/self/status")
PEAK: Final = Path("/proc/self/clear_refs")

Outcome = Literal["opened", "refused"]


class BreachError(AssertionError):
    """A file made the reader break its promise."""


class _Hang(BaseException):
    """Raised by the alarm; no exception that a reader could take for a corrupt file."""


@dataclass(slots=True)
class Counts:
    """What became of the files.

    Attributes:
        opened: listed.
        refused: one line.
        read: tensors read.
        unread: tensors that were listed and could not be read: one line each.
        skipped: rows with a reason.
    """

    opened: int = 0
    refused: int = 0
    read: int = 0
    unread: int = 0
    skipped: int = 0


_watched = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    starts_other = event == "subprocess.Popen" and arguments[0] != sys.executable
    if event in FORBIDDEN or starts_other:
        message = f"the file made the reader do {event} {str(arguments)[:200]}"
        raise _Ran(message)


class _Ran(BaseException):
    """Raised where a file ran something; likewise no ordinary exception."""


@contextmanager
def watched() -> Iterator[None]:
    """Let nothing of the block run a program, connect, load a class by name, last ten seconds or take a gigabyte."""
    global _watched  # noqa: PLW0603 - an audit hook cannot be taken away, only told to look elsewhere
    reset_peak()
    previous = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watched = True
    try:
        yield
    except (_Hang, _Ran) as error:
        raise BreachError(str(error)) from error
    finally:
        _watched = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    if peak_memory() > MEMORY_LIMIT:
        message = f"{peak_memory()} bytes of memory"
        raise BreachError(message)


sys.addaudithook(_audit)


def _ring(_signal: int, _frame: object) -> None:
    message = f"not done after {SECONDS} s"
    raise _Hang(message)


def reset_peak() -> None:
    """Forget the most memory held so far, where the system can."""
    try:
        PEAK.write_text("5")
    except OSError:
        return


def peak_memory() -> int:
    """The most bytes this process has held since the block began, or since it started where the system can't say."""
    try:
        line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def examine(path: Path, counts: Counts, *, canary: Path | None = None) -> Outcome:
    """Open, list and read one source.

    Raises:
        BreachError: it hung, took too much memory, ran something, or gave a tensor that is not what its row says.
        Exception: whatever a reader let through that is no `SourceError`.
    """
    outcome: Outcome = "refused"
    with watched():
        try:
            checkpoint = open_checkpoint(path)
        except SourceError as error:
            _one_line(error)
            counts.refused += 1
        else:
            outcome = "opened"
            counts.opened += 1
            counts.skipped += len(checkpoint.skipped)
            for row in layer_rows(checkpoint):
                json_line(row).encode()
            _read(checkpoint, counts)
    if "WEIGHTATLAS_CANARY" in os.environ or (canary is not None and canary.exists()):
        message = "something in the file ran"
        raise BreachError(message)
    return outcome


def _read(checkpoint: Any, counts: Counts) -> None:  # noqa: ANN401 - a Checkpoint
    for name, info in checkpoint.info.items():
        if info.nbytes > READ_LIMIT:
            continue
        try:
            tensor = checkpoint[name]
        except SourceError as error:
            _one_line(error)
            counts.unread += 1
            continue
        if tuple(tensor.shape) != info.shape or str(tensor.dtype) != f"torch.{info.dtype}":
            message = f"{name!r} is {tuple(tensor.shape)} {tensor.dtype}, its row says {info.shape} {info.dtype}"
            raise BreachError(message)
        if tensor.numel() * tensor.element_size() <= READ_LIMIT:
            tensor.clone()  # touches every byte that is mapped
        counts.read += 1


def _one_line(error: SourceError) -> None:
    text = str(error)
    if len(text.splitlines()) != 1 or not error.remedy:
        message = f"no single line that says what to do: {text!r}"
        raise BreachError(message)
