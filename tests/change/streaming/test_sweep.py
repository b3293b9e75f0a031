"""What is measured of a run, whatever happens to those who measure it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from tests.change.small_runs import assert_same, save, surveyed, weights, when_done, write_run
from weightatlas.change.streaming import streaming
from weightatlas.change.streaming.journal import Journal
from weightatlas.change.streaming.lineage import lineages
from weightatlas.change.streaming.sweep import Sweep
from weightatlas.change.summing.measuring import Asked
from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.parallel import WorkerLostError, parallel_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from weightatlas.change.streaming.streaming import Part, PartMeasured

WORK = partial(parallel_map, jobs=1)
CONTEXT: Any = multiprocessing.get_context("spawn")
PATIENCE = 100


def swept(checkpoints: Sequence[Checkpoint], *, work: Any = WORK, journal: Path | None = None) -> Sweep:  # noqa: ANN401
    found, _ = lineages(checkpoints, "weights")
    with Journal(journal) as kept:
        sweep = Sweep(checkpoints, found, Asked(), kept)
        sweep.run(work)
    return sweep


def sums(sweep: Sweep, index: int) -> list[list[float] | None]:
    """Those of each pair of a tensor."""
    found: list[list[float] | None] = []
    for after in range(1, 4):
        pair = sweep.pair(index, after)
        total = None if pair is None else sweep.total(index, pair)
        found.append(None if total is None else total.sums.tolist())
    return found


class Faulty(Checkpoint):
    """A checkpoint of which nothing can be read from an element on."""

    def __init__(self, healthy: Checkpoint, end: int) -> None:
        super().__init__(
            "faulty", list(healthy.info.values()), lambda info: healthy[info.name], is_mapped=lambda _: True
        )
        self._healthy, self._end = healthy, end

    def parts(self, name: str) -> Callable[[int, int], torch.Tensor]:
        def fetch(low: int, high: int) -> torch.Tensor:
            if high > self._end:
                message = "the file is shorter than its header says"
                raise ValueError(message)
            return self._healthy.parts(name)(low, high)

        return fetch


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_a_tensor_that_cannot_be_read_to_its_end_is_left_out_of_that_checkpoint_whole(
    monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    monkeypatch.setattr(streaming, "PART", 250)
    states = [{"conv1.weight": weights(step)["conv1.weight"]} for step in range(4)]
    healthy: list[Checkpoint] = [Faulty(open_checkpoint(state), 9999) for state in states]
    faulty = [Faulty(each, 500) if place == bad else each for place, each in enumerate(healthy)]
    sweep = swept(faulty)
    states[bad] = {"other.weight": torch.zeros(2, 2)}
    without = swept([Faulty(open_checkpoint(state), 9999) for state in states])
    names = [lineage.layer for lineage in lineages([open_checkpoint(state) for state in states], "weights")[0]]
    assert sums(sweep, 0) == sums(without, names.index("conv1"))
    assert sweep.unreadable == [{bad: "it cannot be read at this step: the file is shorter than its header says"}]


def test_what_a_worker_died_of_is_not_tried_here_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PART", 250)

    def work(function: Any, parts: list[Part], *, on_answer: Any, on_error: Any, label: Any) -> list[PartMeasured]:  # noqa: ANN401
        for part in parts:
            is_lost = (label(part), part.low) == ("conv1", 250)
            lost = WorkerLostError("its process died")
            on_answer(part, on_error(part, lost) if is_lost else function(part))
        return []

    checkpoints = [open_checkpoint(write_run(tmp_path, [step]) / f"step{step}.safetensors") for step in range(4)]
    sweep, healthy = swept(checkpoints, work=work, journal=tmp_path / "journal"), swept(checkpoints)
    assert sweep.lost == {0: "it was not measured: its process died"}
    assert sums(sweep, 0) == [None] * 3
    assert [sums(sweep, index) for index in (1, 2)] == [sums(healthy, index) for index in (1, 2)]
    again = swept(checkpoints, journal=tmp_path / "journal")
    assert [sums(again, index) for index in range(3)] == [sums(healthy, index) for index in range(3)]
    assert again.bytes_read == 4 * 4 * 250, "the part that was lost"


def test_other_errors_of_the_work_are_not_hidden(tmp_path: Path) -> None:
    write_run(tmp_path, range(2))
    checkpoints = [open_checkpoint(tmp_path / f"step{step}.safetensors") for step in range(2)]
    broken = Faulty(checkpoints[0], 9999)
    broken.parts = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        swept([broken, checkpoints[1]])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Twelve layers over six checkpoints."""
    for step in range(6):
        state = {
            f"block{block}.{name}": tensor for block in range(4) for name, tensor in weights(step, seed=block).items()
        }
        save(tmp_path / "run" / f"step{step}.safetensors", state)
    return tmp_path / "run"


@pytest.mark.parametrize("form", ["step{step}.safetensors", "step{step}-deflated.npz"])
@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_every_backend_gives_the_same_table(tmp_path: Path, backend: Any, form: str) -> None:  # noqa: ANN401 - one of them
    folder = write_run(tmp_path / "run", range(4), form)
    alone = surveyed(folder, jobs=1)
    changes = surveyed(folder, jobs=2, backend=backend, journal=tmp_path / "journal")
    assert_same(changes, alone)
    assert changes.bytes_read == alone.bytes_read
    assert surveyed(folder, journal=tmp_path / "journal").bytes_read == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_of_two_costs_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PART", 100)  # a hundred parts: most are to be done yet when the process dies
    alone, killed = surveyed(run, jobs=1), []

    def kill() -> None:
        workers = sorted(get_reusable_executor(max_workers=2, reuse=True)._processes)
        os.kill(workers[0], signal.SIGKILL)
        killed.append(workers)

    changes = surveyed(run, jobs=2, backend="loky", journal=tmp_path / "journal", progress=when_done(3, kill))
    assert [len(workers) for workers in killed] == [2]
    assert_same(changes, alone)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.filterwarnings("ignore")  # Dask warns of what was killed
def test_a_killed_worker_of_a_dask_cluster_costs_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PART", 100)
    distributed = pytest.importorskip("dask.distributed")
    alone, killed = surveyed(run, jobs=1), []
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = sorted(client.run(os.getpid).values())
        assert len({os.getpid(), *workers}) == 3

        def kill() -> None:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])

        changes = surveyed(run, jobs=2, backend="dask", journal=tmp_path / "journal", progress=when_done(3, kill))
    assert killed == workers[:1]
    assert_same(changes, alone)


def survey_and_die(run: Path, journal: Path) -> None:
    """Survey until the fifth part is done, and die as by `kill -9`."""
    die = when_done(5, partial(os.kill, os.getpid(), signal.SIGKILL))
    surveyed(run, journal=journal, jobs=1, progress=die)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_survey_that_was_killed_goes_on_to_the_same_table(run: Path, tmp_path: Path) -> None:
    whole = surveyed(run)
    process = CONTEXT.Process(target=survey_and_die, args=(run, tmp_path / "journal"))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'{"tensor": "block3.fc|weight", "low": 0, "hi')
    again = surveyed(run, journal=tmp_path / "journal")
    assert_same(again, whole)
    assert 0 < again.bytes_read < whole.bytes_read
    first = sum(layer.parameters for layer in again.layers[:5])
    assert again.bytes_read == whole.bytes_read - 6 * 4 * first


def test_two_surveys_at_once_share_a_journal(run: Path, tmp_path: Path) -> None:
    whole = surveyed(run)
    others = []

    def also() -> None:
        others.append(surveyed(run, journal=tmp_path / "journal", jobs=1))

    first = surveyed(run, journal=tmp_path / "journal", jobs=1, progress=when_done(5, also))
    assert_same(first, whole)
    assert_same(others[0], whole)
    assert others[0].bytes_read < whole.bytes_read
    again = surveyed(run, journal=tmp_path / "journal")
    assert_same(again, whole)
    assert again.bytes_read == 0


def test_many_parts_and_windows_change_no_bit_between_jobs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PART", 300)
    monkeypatch.setattr(streaming, "WINDOW", 2)
    one, two = surveyed(run, jobs=1, median=True), surveyed(run, jobs=2, median=True)
    assert_same(one, two)
    assert np.isfinite(one.curves("median")).all()
