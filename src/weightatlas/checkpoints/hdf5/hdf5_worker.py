"""The child process that parses HDF5, so that whatever libhdf5 does on a damaged file happens to the child alone.

It is run as a script by `hdf5_process`, and loads `hdf5_walk` and nothing else of this package. It answers one request
after the other on its standard output, in frames: a letter, a length of four bytes, the payload. "D" is a piece of an
array, "J" the JSON that closes an answer, "E" a sentence that says why there is none. Where the system has limits it
gives itself some: memory, no core file, no file written, no file opened besides the one it was asked about, and an
alarm that ends it.
"""

from __future__ import annotations

import codecs
import importlib.util
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

FRAME: Final = struct.Struct(">cI")
MEMORY_LIMIT: Final = 900 * 2**20
ALARM: Final = 12.0  # seconds; the parent gives up before


class _Slice:
    """A part of a file as a file: weights that lie uncompressed in an archive need not be unpacked."""

    def __init__(self, file: BinaryIO, begin: int, length: int) -> None:
        self._file, self._begin, self._length, self._position = file, begin, length, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        view = memoryview(buffer)
        view = view[: max(0, min(len(view), self._length - self._position))]
        self._file.seek(self._begin + self._position)
        count = self._file.readinto(view)  # type: ignore[attr-defined] # a file of bytes has it
        self._position += count
        return int(count)

    def read(self, size: int = -1) -> bytes:
        data = bytearray(max(0, self._length - self._position) if size < 0 else size)
        return bytes(data[: self.readinto(memoryview(data))])

    def flush(self) -> None:
        """Nothing is written."""


def load_walk() -> ModuleType:
    """Load `hdf5_walk` from beside this file: the package around it would load what is not needed here."""
    place = importlib.util.spec_from_file_location("hdf5_walk", Path(__file__).with_name("hdf5_walk.py"))
    if place is None or place.loader is None:
        raise ImportError(name="hdf5_walk")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def answer(walk: ModuleType, request: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    """The frames that answer one request, each as its letter and its payload."""
    import h5py

    with open(request["path"], "rb", buffering=0) as raw:  # noqa: PTH123 - a path may not be text that is a Path
        part = _Slice(raw, request["begin"], request["length"])
        with h5py.File(part, "r") as file, _NoNewFiles():
            if request["name"] is None:
                yield b"J", json.dumps(walk.walk(file), default=int).encode()
                return
            for piece in walk.pieces(file, request["name"], request["shape"], request["chunks"]):
                yield b"D", piece
    yield b"J", b"null"


class _NoNewFiles:
    """While it lasts this process can open no file: an array that lies in another file stays there."""

    def __enter__(self) -> None:
        try:
            import resource
        except ImportError:
            return
        free = os.dup(0)
        os.close(free)
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, self._limits[1]))

    def __exit__(self, *error: object) -> None:
        if hasattr(self, "_limits"):
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


def limit_memory() -> None:
    """Give this process its limits, where the system knows them."""
    try:
        import resource
    except ImportError:
        return
    for name, value in (("AS", MEMORY_LIMIT), ("DATA", MEMORY_LIMIT), ("CORE", 0), ("FSIZE", 0)):
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (wanted, wanted))
        except (ValueError, OSError):
            continue


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends a process, in whatever C code it is


def _receive(requests: BinaryIO) -> dict[str, Any] | None:
    head = requests.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    request: dict[str, Any] = json.loads(requests.read(FRAME.unpack(head)[1]))
    return request


def _say(error: Exception) -> bytes:
    text = str(error).strip().partition("\n")[0][:200]
    is_ours = type(error).__name__ == "HostileError"
    return (text if is_ours else f"{type(error).__name__}: {text}").encode("utf-8", "replace")


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more; the first says where Python finds its packages."""

    def send(letter: bytes, payload: bytes) -> None:
        answers.write(FRAME.pack(letter, len(payload)))
        answers.write(payload)
        answers.flush()

    first = _receive(requests)
    if first is None:
        return
    sys.path[:] = first["packages"]
    limit_memory()
    try:
        import h5py  # noqa: F401

        walk = load_walk()
        codecs.lookup("ascii")  # Python loads it from a file on first use, and soon no file can be opened
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        send(b"E", _say(error))
        return
    send(b"J", b"null")
    while (request := _receive(requests)) is not None:
        _alarm(ALARM)
        try:
            for letter, payload in answer(walk, request):
                _alarm(0)  # the parent takes what is sent when it can
                send(letter, payload)
                _alarm(ALARM)
        except Exception as error:  # noqa: BLE001 - a damaged file makes libhdf5's wrapper raise nearly anything
            send(b"E", _say(error))
        _alarm(0)


def main() -> None:
    """Serve the process that started this one; nothing else may write into the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
