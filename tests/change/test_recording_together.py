"""Two processes record one training: no process waits for the other, and their shards add up to the whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from weightatlas.change.records import read_records
from weightatlas.change.statistics import statistics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("record_together.py")
PATIENCE = 180
CASES = ("replicated", "sharded", "flat", "flat-originals", "hybrid", "mixed", "stops", "killed")
FIGURES = ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start", "angle_from_start")


def together(folder: Path, *cases: str) -> list[subprocess.CompletedProcess[str]]:
    """Both processes to their end; one that hangs is an error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))}
    environment = inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    processes = [
        subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(PROGRAM), str(folder), str(rank), port, *cases],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        said = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *words)
        for process, words in zip(processes, said, strict=True)
    ]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes recorded, a folder for each case."""
    folder = tmp_path_factory.mktemp("together")
    first, second = together(folder, *CASES)
    assert (first.returncode, second.returncode) == (0, -signal.SIGKILL), first.stderr[-3000:] + second.stderr[-3000:]
    return folder


def assert_recorded(folder: Path, steps: int, *, without: int = 0) -> None:
    """All figures are those of the whole weights at every step but the last `without`."""
    weights = torch.load(folder / "weights.pt")
    changes = read_records(folder / "change.jsonl")
    assert changes.steps == tuple(range(1, steps + 1))
    assert changes.since == tuple(range(steps))
    assert [layer.layer for layer in changes.layers] == ["0", "2", "4"]
    for layer in changes.layers:
        name = f"{layer.layer}.weight"
        assert layer.shape == tuple(weights[0][name].shape)
        for step in range(1, steps + 1 - without):
            expected = statistics(
                weights[step - 1][name],
                weights[step][name],
                start=weights[0][name],
                previous=weights[step - 2][name] if step > 1 else None,
            )
            for figure in FIGURES:
                got, want = layer.figures[figure][step - 1], getattr(expected, figure)
                rtol = 1e-4 if figure.startswith("angle") else 1e-6  # an angle of nearly 0 has lost digits
                np.testing.assert_allclose(got, want, rtol=rtol, err_msg=f"{name}, step {step}: {figure}")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("change*"))


def test_the_first_of_several_copies_records(recorded: Path) -> None:
    assert files(recorded / "replicated") == ["change.jsonl"]
    assert_recorded(recorded / "replicated", 6)


@pytest.mark.parametrize("case", ["sharded", "flat", "flat-originals"])
def test_shards_add_up_to_the_whole(recorded: Path, case: str) -> None:
    assert files(recorded / case) == ["change.rank0.jsonl", "change.rank1.jsonl"]
    assert_recorded(recorded / case, 6)


@pytest.mark.parametrize("case", ["hybrid", "mixed"])
def test_a_part_that_several_hold_counts_once(recorded: Path, case: str) -> None:
    assert_recorded(recorded / case, 6)


def test_one_that_stops_recording_holds_up_nobody(recorded: Path) -> None:
    assert_recorded(recorded / "stops", 6, without=3)
    for layer in read_records(recorded / "stops" / "change.jsonl").layers:
        assert np.isnan(layer.figures["ratio_l1"][3:]).all()
        assert sorted(layer.reasons) == [3, 4, 5]
        assert layer.reasons[3].endswith("weights were recorded at this step, by one process")


def test_one_that_is_killed_leaves_what_was_recorded(recorded: Path) -> None:
    """The last case: the fixture sees that the second process died, and that the first ended by itself."""
    assert_recorded(recorded / "killed", 3)
