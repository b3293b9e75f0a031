"""The fuzzers notice what they look for: a reader that breaks each promise is caught."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import examine as examining
from tests.fuzz.driver import fuzz
from tests.fuzz.examine import BreachError, Counts, examine
from tests.hostile.valid_files import valid
from weightatlas.errors import SourceError

Reader = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count memory from here: these tests share a process with hundreds of others; the fuzzers have their own."""
    examining.reset_peak()
    monkeypatch.setattr(examining, "MEMORY_LIMIT", examining.peak_memory() + examining.MEMORY_LIMIT)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reader], None]:
    """Put a reader in place of the real one."""
    return lambda read: monkeypatch.setattr(examining, "open_checkpoint", read)


def _refuse(path: Path) -> Any:  # noqa: ANN401 - it never returns
    raise SourceError(path, "is corrupt", "copy it again")


def test_a_refusal_is_counted(reader: Callable[[Reader], None], tmp_path: Path) -> None:
    reader(_refuse)
    counts = Counts()
    assert examine(tmp_path / "x", counts) == "refused"
    assert counts.refused == 1


def test_an_exception_of_a_parser_is_let_through(reader: Callable[[Reader], None], tmp_path: Path) -> None:
    def read(_: Path) -> None:
        raise KeyError

    reader(read)
    with pytest.raises(KeyError):
        examine(tmp_path / "x", Counts())


def test_a_reader_that_hangs_is_a_breach(
    reader: Callable[[Reader], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "SECONDS", 0.05)

    def read(path: Path) -> None:
        try:
            while True:
                time.sleep(0.01)
        except Exception:  # noqa: BLE001 - as a reader that takes everything for a corrupt file would
            _refuse(path)

    reader(read)
    with pytest.raises(BreachError, match="not done"):
        examine(tmp_path / "x", Counts())


@pytest.mark.skipif(not examining.STATUS.exists(), reason="the system tells no peak of memory")
def test_a_reader_that_takes_memory_and_gives_it_back_is_a_breach(
    reader: Callable[[Reader], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader(_refuse)
    examine(tmp_path / "x", Counts())
    gc.collect()  # what tests before this one left must not go while it measures
    examining.reset_peak()
    monkeypatch.setattr(examining, "MEMORY_LIMIT", examining.peak_memory() + 50_000_000)

    def read(path: Path) -> None:
        assert b"x" * 400_000_000
        _refuse(path)

    reader(read)
    with pytest.raises(BreachError, match="bytes of memory"):
        examine(tmp_path / "x", Counts())
    reader(_refuse)
    examine(tmp_path / "x", Counts())


def _shell(_: Path) -> None:
    os.system("true")  # noqa: S605, S607 - it is what must be caught


def _program(_: Path) -> None:
    subprocess.run(["/bin/true"], check=False)


@pytest.mark.parametrize("read", [_shell, _program])
def test_a_reader_that_runs_a_program_is_a_breach(
    reader: Callable[[Reader], None], tmp_path: Path, read: Reader
) -> None:
    reader(read)
    with pytest.raises(BreachError, match=r"os\.system|subprocess"):
        examine(tmp_path / "x", Counts())


def test_the_canary_is_a_breach(reader: Callable[[Reader], None], tmp_path: Path) -> None:
    reader(_refuse)
    examine(tmp_path / "x", Counts(), canary=tmp_path / "canary")
    (tmp_path / "canary").touch()
    with pytest.raises(BreachError, match="ran"):
        examine(tmp_path / "x", Counts(), canary=tmp_path / "canary")


def test_a_tensor_that_is_not_what_its_row_says_is_a_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from weightatlas.checkpoints.checkpoint import Checkpoint

    path = tmp_path / "model.npz"
    path.write_bytes(valid("stored.npz"))
    counts = Counts()
    examine(path, counts)
    assert counts.read == 3
    monkeypatch.setattr(Checkpoint, "__getitem__", lambda *_: torch.zeros(1))
    with pytest.raises(BreachError, match="its row says"):
        examine(path, Counts())


def test_the_smallest_failing_file_is_kept(reader: Callable[[Reader], None], tmp_path: Path) -> None:
    def read(path: Path) -> None:
        if len(path.read_bytes()) > 20:
            raise KeyError
        _refuse(path)

    reader(read)
    with pytest.raises(KeyError):
        fuzz("safetensors", 50, 0, keep=tmp_path / "kept")
    (kept,) = (tmp_path / "kept").iterdir()
    assert len(kept.read_bytes()) > 20


def test_the_driver_wants_a_format_that_there_is() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--format", "nonsense"]
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 2  # noqa: S603
