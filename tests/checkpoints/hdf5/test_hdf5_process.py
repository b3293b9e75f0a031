from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from weightatlas.checkpoints.hdf5 import hdf5_process
from weightatlas.checkpoints.hdf5.hdf5_file import Part, list_hdf5
from weightatlas.checkpoints.hdf5.hdf5_process import SHARED, Hdf5Process
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 3000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An array that comes in three pieces."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=np.arange(ROWS * 1000.0).reshape(ROWS, 1000), chunks=(500, 1000), compression=1)
    return tmp_path / "x.h5"


@pytest.fixture
def process() -> Iterator[Hdf5Process]:
    own = Hdf5Process()
    yield own
    own.close()


def listing(path: Path) -> dict[str, object]:
    return {"path": str(path), "begin": 0, "length": path.stat().st_size, "name": None}


def reading(path: Path) -> dict[str, object]:
    return {**listing(path), "name": "a", "shape": [ROWS, 1000], "chunks": [500, 1000]}


def test_one_child_is_kept_and_ends_on_close(path: Path, process: Hdf5Process) -> None:
    assert process.pid() is None
    assert b'"a"' in b"".join(process.exchange("x", listing(path)))
    first = process.pid()
    list(process.exchange("x", listing(path)))
    assert first is not None
    assert process.pid() == first
    process.close()
    assert process.pid() is None
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_file_that_is_refused_costs_no_child(path: Path, process: Hdf5Process, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no HDF5 at all")
    list(process.exchange("x", listing(path)))
    first = process.pid()
    with pytest.raises(SourceError, match="structure cannot be read"):
        list(process.exchange("x", listing(tmp_path / "text")))
    assert process.pid() == first


def test_a_child_killed_while_it_works_is_an_error_and_the_next_request_works(path: Path, process: Hdf5Process) -> None:
    answer = process.exchange("x", reading(path), [8_000_000, 8_000_000, 8_000_000])
    assert len(next(answer)) == 8_000_000
    os.kill(process.pid() or 0, signal.SIGKILL)
    with pytest.raises(SourceError, match="crashed"):
        list(answer)
    assert len(list(process.exchange("x", reading(path), [8_000_000] * 3))) == 4


def test_a_child_killed_while_it_waits_is_replaced(path: Path, process: Hdf5Process) -> None:
    list(process.exchange("x", listing(path)))
    first = process.pid() or 0
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert list(process.exchange("x", listing(path)))
    assert process.pid() != first


def test_a_child_that_does_not_come_back_is_killed(
    path: Path, process: Hdf5Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(process.exchange("x", listing(path)))
    monkeypatch.setattr(hdf5_process, "PATIENCE", 0.2)
    os.kill(process.pid() or 0, signal.SIGSTOP)
    with pytest.raises(SourceError, match="did not come back"):
        list(process.exchange("x", listing(path)))
    monkeypatch.undo()
    assert list(process.exchange("x", listing(path)))


def test_an_answer_that_is_not_waited_for_leaves_nothing_for_the_next(path: Path, process: Hdf5Process) -> None:
    answer = process.exchange("x", reading(path), [8_000_000] * 3)
    next(answer)
    answer.close()  # type: ignore[attr-defined] # a generator
    assert b'"a"' in b"".join(process.exchange("x", listing(path)))


@pytest.mark.parametrize(
    "lie",
    [
        "b'D' + (7).to_bytes(4, 'big') + bytes(7)",
        "b'J' + (2**32 - 1).to_bytes(4, 'big')",
        "b'E' + (10**6).to_bytes(4, 'big')",
        "b'?' + bytes(4)",
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    lie: str, path: Path, process: Hdf5Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"import sys, time; sys.stdout.buffer.write(b'J' + bytes(4) + {lie}); sys.stdout.flush(); time.sleep(60)"

    def start(_source: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - this Python
            [sys.executable, "-c", script], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    monkeypatch.setattr(hdf5_process, "_start", start)
    with pytest.raises(SourceError, match="makes no sense"):
        list(process.exchange("x", reading(path), [8_000_000]))
    assert process.pid() is None


def test_a_child_that_cannot_start_is_said(
    path: Path, process: Hdf5Process, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(SourceError, match="no process can be started"):
        list(process.exchange("x", listing(path)))


def test_threads_share_a_child(path: Path) -> None:
    blob = LocalBlob(path)
    file = list_hdf5(Part(blob, 0, blob.size))
    expected = np.arange(ROWS * 1000.0).reshape(ROWS, 1000)
    wrong: list[int] = []

    def read(number: int) -> None:
        if not np.array_equal(file.read("a").numpy(), expected):
            wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_process_has_a_child_of_its_own(path: Path) -> None:
    blob = LocalBlob(path)
    list_hdf5(Part(blob, 0, blob.size))
    first = SHARED.pid()
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            found = list_hdf5(Part(blob, 0, blob.size))
            status = 0 if list(found.arrays) == ["a"] and SHARED.pid() != first else 2
            SHARED.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    list_hdf5(Part(blob, 0, blob.size))
    assert SHARED.pid() == first


LISTING = """
import sys
from pathlib import Path
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.hdf5.hdf5_file import Part, list_hdf5
from weightatlas.checkpoints.hdf5.hdf5_process import SHARED
blob = LocalBlob(Path(sys.argv[1]))
list_hdf5(Part(blob, 0, blob.size))
print(SHARED.pid(), sorted({"h5py", "numpy", "torch"} & set(sys.modules)), flush=True)
sys.stdin.read()
"""


def test_listing_loads_no_heavy_library_and_the_child_ends_with_its_parent(path: Path) -> None:
    with subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-c", LISTING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child, _, loaded = parent.stdout.readline().partition(" ")
        parent.kill()
    assert loaded.strip() == "[]"
    end = time.monotonic() + 10
    while _is_running(int(child)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _is_running(int(child))


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
