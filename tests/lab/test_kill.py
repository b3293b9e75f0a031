"""Runs that are killed anywhere end with the bits of one that was not: weights, metrics and result."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.torch import save_file

from weightatlas.lab import Configuration, Recipe, RunFolder, run
from weightatlas.lab import records as lab_records

if TYPE_CHECKING:
    from weightatlas.lab.running import Run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")]

CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform != "win32" else None)
CONTEXT.set_forkserver_preload(["torch", "lightning_fabric", "weightatlas.lab"])
PATIENCE = 60


def data_in(folder: Path) -> str:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for prefix in ("", "test_"):
        targets = np.arange(60) % 3
        arrays[f"{prefix}targets"] = targets
        arrays[f"{prefix}inputs"] = (np.eye(3)[targets] * 2 + generator.normal(size=(60, 3))).astype(np.float32)
    np.savez(folder / "points.npz", **arrays)
    return str(folder / "points.npz")


def configured(data: str, **more: Any) -> Configuration:  # noqa: ANN401 - handed on
    settings: dict[str, Any] = {"save_every": 3, "keep": "log", "recipe": Recipe(steps=400, batch_size=8)} | more
    return Configuration(model="tests.lab.small_runs:perceptron?dropout=0.3", data=data, **settings)


def child(configuration: Configuration, folder: Path, sabotage: Callable[..., None] | None, *arguments: Any) -> None:  # noqa: ANN401 - handed on
    if sabotage is not None:
        sabotage(*arguments)
    run(configuration, folder)


def started(
    configuration: Configuration,
    folder: Path,
    sabotage: Callable[..., None] | None = None,
    *arguments: Any,  # noqa: ANN401 - handed on
) -> Any:  # noqa: ANN401 - handed on
    process = CONTEXT.Process(target=child, args=(configuration, folder, sabotage, *arguments))
    process.start()
    return process


def finished(configuration: Configuration, folder: Path) -> RunFolder:
    process = started(configuration, folder)
    process.join(PATIENCE)
    assert process.exitcode == 0
    return RunFolder(folder)


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seconds"}


def assert_same(one: RunFolder, other: RunFolder) -> None:
    """The same files, the same bits; only what a clock said may differ."""
    names = [
        sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())
        for folder in (one, other)
    ]
    assert names[0] == names[1], "nothing is left over, nothing is missing"
    for name in names[0]:
        if name.startswith("checkpoints/"):
            assert weights(one.path / name) == weights(other.path / name), name
    assert [timeless(row) for row in one.rows()] == [timeless(row) for row in other.rows()]
    results = [folder.result() for folder in (one, other)]
    assert timeless(results[0] or {}) == timeless(results[1] or {})
    steps = [row["step"] for row in one.rows() if "loss" in row]
    assert steps == list(range(1, len(steps) + 1))


def weights(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: array.tobytes() for name, array in load_file(path).items()}


def test_twenty_kills_at_random_moments(tmp_path: Path) -> None:
    configuration = configured(data_in(tmp_path))
    whole = finished(configuration, tmp_path / "whole")
    folder, moments = RunFolder(tmp_path / "killed"), random.Random(7)  # noqa: S311 - no secret
    for _ in range(20):
        process = started(configuration, folder.path)
        goal = max(folder.saved(), default=0) + moments.choice((0, 1, 3, 6, 12))
        deadline = time.monotonic() + PATIENCE
        while max(folder.saved(), default=0) < goal and process.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL, "it had not ended"
    assert folder.result() is None
    assert_same(finished(configuration, folder.path), whole)
    assert folder.saved()[-1] == 400


def test_a_run_that_stops_early_stops_where_it_would_have_whatever_kills_it(tmp_path: Path) -> None:
    configuration = configured(
        data_in(tmp_path), stop="test_accuracy>0.7", stop_every=7, stop_held=3, recipe=Recipe(steps=4000, batch_size=8)
    )
    whole = finished(configuration, tmp_path / "whole")
    ended = (whole.result() or {})["steps"]
    assert 21 <= ended < 4000
    folder = RunFolder(tmp_path / "killed")
    for goal in (ended // 4, ended // 2, ended - 8, ended):
        process = started(configuration, folder.path, _die_at_step, goal)
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL
        assert folder.result() is None
    assert_same(finished(configuration, folder.path), whole)


def _die_at_step(step: int) -> None:
    """Kill this process once it has saved a step that is so late."""
    real = lab_records.RunFolder.save

    def save(self: RunFolder, now: int, *arguments: Any) -> None:  # noqa: ANN401 - handed on
        real(self, now, *arguments)
        if now >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    lab_records.RunFolder.save = save  # type: ignore[assignment, method-assign]


def die_at_rename(number: int, *, before: bool) -> None:
    """Kill this process just before, or just after, it renames its so-many-th file."""
    real, seen = os.replace, []

    def replace(source: Any, target: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
        seen.append(target)
        if before and len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target, **more)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace  # type: ignore[assignment]


def _die_before(number: int) -> None:
    die_at_rename(number, before=True)


def _die_after(number: int) -> None:
    die_at_rename(number, before=False)


def _die_half_way(number: int) -> None:
    """Kill this process when it has written half of its so-many-th file of tensors."""
    real, seen = save_file, []

    def save(tensors: Any, path: Path, **more: Any) -> None:  # noqa: ANN401 - handed on
        real(tensors, path, **more)
        seen.append(path)
        if len(seen) == number:
            content = Path(path).read_bytes()
            Path(path).write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(lab_records, "save_file", save)  # noqa: B010 - a name that mypy does not see exported


def _interrupt_at(number: int) -> None:
    """Send this process what Ctrl-C sends, when it begins its so-many-th file of tensors."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    real, seen = save_file, []

    def save(tensors: Any, path: Path, **more: Any) -> None:  # noqa: ANN401 - handed on
        seen.append(path)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGINT)
        real(tensors, path, **more)

    setattr(lab_records, "save_file", save)  # noqa: B010 - a name that mypy does not see exported


@pytest.mark.parametrize(("sabotage", "last"), [(_die_before, 12), (_die_after, 12), (_die_half_way, 8)])
def test_a_kill_inside_of_saving(tmp_path: Path, sabotage: Callable[..., None], last: int) -> None:
    configuration = configured(data_in(tmp_path), recipe=Recipe(steps=6, batch_size=8), keep="last", every=4)
    whole = finished(configuration, tmp_path / "whole")
    killed = 0
    for number in range(1, last + 1):
        folder = tmp_path / f"killed-{number}"
        process = started(configuration, folder, sabotage, number)
        process.join(PATIENCE)
        killed += process.exitcode == -signal.SIGKILL
        assert process.exitcode in {0, -signal.SIGKILL}
        assert_same(finished(configuration, folder), whole)
    assert killed >= last - 3, "nearly every number is one of a write that happens"


def test_an_interruption_from_the_keyboard(tmp_path: Path) -> None:
    configuration = configured(data_in(tmp_path))
    whole = finished(configuration, tmp_path / "whole")
    folder = RunFolder(tmp_path / "interrupted")
    process = started(configuration, folder.path, _interrupt_at, 3)
    process.join(PATIENCE)
    assert process.exitcode == 1
    assert folder.result() is None
    assert_same(finished(configuration, folder.path), whole)


def test_a_run_that_has_ended_is_read_back(tmp_path: Path) -> None:
    configuration = configured(data_in(tmp_path), recipe=Recipe(steps=5, batch_size=8))
    first: Run = run(configuration, tmp_path / "run")
    stamp = json.dumps(RunFolder(tmp_path / "run").result())
    again = run(configuration, tmp_path / "run")
    assert (first.reused, again.reused) == (False, True)
    assert again.test_accuracy == first.test_accuracy
    assert json.dumps(RunFolder(tmp_path / "run").result()) == stamp
