"""The other end of `hdf5_worker`: a child process that is started when it is needed, kept, and killed when it hangs.

libhdf5 is a large C library in which damaged files have caused memory errors, endless loops and huge allocations. In a
child none of them harms the process that asked: it gets an answer, or an error in bounded time.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.hdf5.hdf5_worker import FRAME
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PATIENCE: Final = 8.0
"""Seconds that the child may take for an answer, or for the next piece of one."""
START_PATIENCE: Final = 60.0
"""Seconds that it may take to start: it imports numpy, from a cold disk perhaps."""
ANSWER_LIMIT: Final = 64 * 2**20
_ENVIRONMENT: Final = {
    "OPENBLAS_NUM_THREADS": "1",  # each thread's buffers count against the child's memory
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HDF5_PLUGIN_PRELOAD": "::",  # a file names the filters it needs: none is loaded from a library
    "HDF5_USE_FILE_LOCKING": "FALSE",
}


class Hdf5Process:
    """One child at a time, shared by all threads of a process; a request waits for the one before it."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def exchange(self, source: str, request: Mapping[str, Any], sizes: Iterable[int] = ()) -> Iterator[bytearray]:
        """Ask one thing.

        Args:
            source: the name for the error.
            request: what `hdf5_worker.answer` takes.
            sizes: the bytes of each piece that has to come before the answer is complete.

        Yields:
            the pieces, then the JSON that closes the answer.

        Raises:
            SourceError: the child found the file corrupt, crashed, or did not come back in time.
        """
        with self._lock:
            child = self._running(source)
            complete = False
            try:
                _send(source, child, request)
                for size in sizes:
                    yield _receive(source, child, b"D", size, PATIENCE)
                yield _receive(source, child, b"J", ANSWER_LIMIT, PATIENCE)
                complete = True
            except _RefusedError as error:
                complete = True  # a whole answer, though a sad one
                raise SourceError(source, f"its HDF5 structure cannot be read ({error})", REMEDY) from None
            finally:
                if not complete:
                    self._stop()

    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return None if self._child is None else self._child.pid

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """In a forked process: leave the child to the parent."""
        child, self._child = self._child, None
        self._lock = threading.Lock()
        if child is not None:
            _close_pipes(child)
            child.returncode = 0  # not ours to wait for

    def _running(self, source: str) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self._stop()
        if self._child is None:
            self._child = _start(source)
            complete = False
            try:
                _send(source, self._child, {"packages": [path for path in sys.path if Path(path).is_absolute()]})
                _receive(source, self._child, b"J", ANSWER_LIMIT, START_PATIENCE)
                complete = True
            except _RefusedError as error:
                raise SourceError(source, f"the reader of HDF5 does not start ({error})", "install h5py") from None
            finally:
                if not complete:
                    self._stop()
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            _close_pipes(child)
            child.wait()


class _RefusedError(Exception):
    """The child's sentence about a file."""


def _start(source: str) -> subprocess.Popen[bytes]:
    script = str(Path(__file__).with_name("hdf5_worker.py"))
    try:
        return subprocess.Popen(  # noqa: S603 - this Python and a script of this package
            [sys.executable, "-I", script],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
        )
    except OSError as error:
        problem = f"no process can be started to read HDF5 ({error.strerror})"
        raise SourceError(source, problem, "end other processes and try again") from error


def _send(source: str, child: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    assert child.stdin is not None  # noqa: S101 - a pipe, by how it was started
    payload = json.dumps(request).encode()
    try:
        child.stdin.write(FRAME.pack(b"R", len(payload)) + payload)
    except OSError:
        raise _crash(source) from None


def _receive(source: str, child: subprocess.Popen[bytes], letter: bytes, size: int, patience: float) -> bytearray:
    """The next frame; "J" may be shorter than `size`, "D" may not."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(patience, give_up)
    timer.daemon = True
    timer.start()
    try:
        came, length = FRAME.unpack(bytes(_exactly(child, FRAME.size)))
        fits = came == letter and (length == size if letter == b"D" else length <= size)
        if not fits and (came != b"E" or length > FRAME.size + 1000):
            problem = "its HDF5 structure cannot be read (the parser's answer makes no sense)"
            raise SourceError(source, problem, REMEDY)
        payload = _exactly(child, length)
    except EOFError:
        raise (_timeout(source, patience) if late.is_set() else _crash(source)) from None
    finally:
        timer.cancel()
    if came == b"E":
        raise _RefusedError("".join(sign if sign.isprintable() else "?" for sign in payload.decode("utf-8", "replace")))
    return payload


def _exactly(child: subprocess.Popen[bytes], size: int) -> bytearray:
    assert child.stdout is not None  # noqa: S101 - a pipe, by how it was started
    data = bytearray(size)
    view, position = memoryview(data), 0
    while position < size:
        count = child.stdout.readinto(view[position:])  # type: ignore[attr-defined] # unbuffered: a raw file
        if not count:
            raise EOFError
        position += count
    return data


def _close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def _crash(source: str) -> SourceError:
    return SourceError(source, "its HDF5 structure cannot be read (the parser crashed)", REMEDY)


def _timeout(source: str, patience: float) -> SourceError:
    problem = f"its HDF5 structure cannot be read (the parser did not come back in {patience:.0f} s)"
    return SourceError(source, problem, REMEDY)


SHARED: Final = Hdf5Process()
"""The child of this process."""

atexit.register(SHARED.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.forget)
