from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.lab.small_runs import CPU
from weightatlas.errors import SourceError
from weightatlas.lab import DivergedError, RunFolder, journal
from weightatlas.lab.devices import open_fabric
from weightatlas.lab.journal import Journal
from weightatlas.lab.plan import Plan, Stretch
from weightatlas.progress import silent

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(journal, "time", made)
    return made


def begun(folder: RunFolder | None = None, *, steps: int = 40, examples: int | None = None, **more: Any) -> Journal:  # noqa: ANN401 - handed on
    plan = Plan(steps, (Stretch(0, 0, 8),), examples)
    settings: dict[str, Any] = {"loggers": (), "progress": silent} | more
    return Journal(open_fabric(CPU, "32-true"), folder, settings["loggers"], plan, settings["progress"])


@pytest.mark.usefixtures("clock")
def test_losses_are_fetched_sixteen_at_a_time_and_the_rest_when_asked(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ours = begun(folder)
    written = []
    for step in range(1, 21):
        ours.note(step, torch.tensor(step / 4), 0.5)
        written.append(len(folder.rows()))
    assert written == [0] * 15 + [16] * 5
    ours.flush()
    ours.flush()
    assert [(row["step"], row["loss"], row["learning_rate"]) for row in folder.rows()] == [
        (step, step / 4, 0.5) for step in range(1, 21)
    ]
    assert ours.losses()[:20].tolist() == [step / 4 for step in range(1, 21)]
    assert bool(torch.as_tensor(ours.losses()[20:]).isnan().all())


def test_slow_updates_are_told_one_by_one(clock: Clock) -> None:
    heard: list[Any] = []
    ours = begun(progress=lambda *said: heard.append(said))
    for step in (1, 2, 3):
        clock.now += 0.4
        ours.note(step, torch.tensor(0.125), 0.5)
    assert heard == [(1, 40, "loss 0.125"), (2, 40, "loss 0.125"), (3, 40, "loss 0.125")]


def test_seconds_count_updates_and_not_what_lies_between(tmp_path: Path, clock: Clock) -> None:
    ours = begun(RunFolder(tmp_path))
    clock.now += 2
    ours.note(1, torch.tensor(1.0), 0.5)
    clock.now += 30
    ours.pause()
    clock.now += 3
    ours.note(2, torch.tensor(1.0), 0.5)
    assert ours.seconds == 5
    ours.rewind(1, 2.0)
    assert ours.seconds == 2


def test_rows_say_the_epoch_where_there_are_some(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ours = begun(folder, examples=32)
    ours.note(2, torch.tensor(1.0), 0.5)
    ours.flush()
    assert folder.rows()[0]["epoch"] == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_named_after_what_came_before_was_written(tmp_path: Path, bad: float) -> None:
    folder, logged = RunFolder(tmp_path), []
    ours = begun(folder, loggers=[lambda row, step: logged.append((row["loss"], step))])
    for step, loss in enumerate((0.5, 0.25, bad, 0.5), start=1):
        ours.note(step, torch.tensor(loss), 0.1)
    with pytest.raises(
        DivergedError, match=r"the loss is -?(nan|inf) at step 3; .*\(0.1 then\); nothing was saved yet"
    ):
        ours.flush()
    assert [row["loss"] for row in folder.rows()] == [0.5, 0.25]
    assert logged == [(0.5, 1), (0.25, 2)]


def test_rewinding_gives_back_the_losses_and_drops_what_comes_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    rows: list[Any] = [{"step": step, "loss": float(step)} for step in (1, 2, 3)]
    folder.log([*rows[:2], {"step": 2, "test_accuracy": 0.5}, rows[2]])
    ours = begun(folder)
    ours.rewind(2, 1.0)
    assert ours.losses()[:2].tolist() == [1, 2]
    assert math.isnan(ours.losses()[2])
    assert [row["step"] for row in folder.rows()] == [1, 2, 2]
    ours.rewind(-1, 0.0)
    assert folder.rows() == []


def test_metrics_are_json_that_anybody_reads(tmp_path: Path) -> None:
    ours = begun(RunFolder(tmp_path))
    ours.note(1, torch.tensor(0.1), 1e-7)
    ours.flush()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row.keys() == {"step", "loss", "learning_rate", "seconds"}
    assert row["loss"] == float(torch.tensor(0.1)), "the bits of the loss survive"


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    ours = begun(RunFolder(tmp_path))
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    ours.note(1, torch.tensor(0.1), 0.1)
    with pytest.raises(SourceError, match="no space is left for its metrics; nothing was saved yet; make room"):
        ours.flush()
