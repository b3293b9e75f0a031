from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.conditioning.recorder import Recorder, SingularityWarning
from weightatlas.conditioning.records import read_rows
from weightatlas.conditioning.singularities import singularities
from weightatlas.errors import SourceError
from weightatlas.recording.schedules import log_spaced

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.recording.schedules import Every


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))


def batch(step: int) -> torch.Tensor:
    return torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(step))


def train(model: nn.Module, recorder: Recorder, first: int, last: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for step in range(first, last + 1):
        optimizer.zero_grad()
        model(batch(step)).square().mean().backward()
        optimizer.step()
        recorder.step(step)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_a_record_is_of_the_very_batch_and_weights_that_the_step_was_made_from() -> None:
    model = network()
    with Recorder(model, every=3) as recorder:
        train(model, recorder, 1, 5)
    twin = network()
    with Recorder(twin, every=100) as silent:
        train(twin, silent, 1, 2)
    (expected,) = singularities(twin, [batch(3)], training=True).points
    (row,) = recorder.rows
    assert (row["step"], row["layer"], row["norm"], row["examples"], row["passes"]) == (3, "1", "batch", 8, 1)
    assert row["least_positive"] == expected.least_positive
    assert row["mean_distance"] == pytest.approx(expected.mean_distance, abs=1e-6)
    (latest,) = recorder.latest
    np.testing.assert_array_equal(latest.mean, expected.mean)
    np.testing.assert_allclose(latest.normalized_std, expected.normalized_std, rtol=1e-6)


def test_recording_changes_nothing_of_the_training() -> None:
    model, twin = network(), network()
    with Recorder(model, every=1) as recorder:
        train(model, recorder, 1, 4)
    with Recorder(twin, every=100) as recorder:
        train(twin, recorder, 1, 4)
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())


def test_there_are_hooks_before_recorded_steps_only_and_none_at_the_end() -> None:
    model, counts = network(), []
    with Recorder(model, every=3) as recorder:
        for step in range(1, 7):
            counts.append(hooks(model) > 0)
            model(batch(step))
            recorder.step(step)
        recorder.step(8)  # the next would be recorded
        assert hooks(model)
    assert counts == [False, False, True] * 2
    assert not hooks(model)


def test_passes_in_evaluation_mode_are_none_of_a_trainings_and_accumulated_ones_are_all() -> None:
    model = network()
    with Recorder(model, every=1) as recorder:
        for number in range(3):
            model(batch(number))
        model.eval()
        model(batch(9) + 100)
        model.train()
        (row,) = recorder.step(1) or []
    assert (row["examples"], row["passes"]) == (24, 3)


def test_the_step_that_the_training_stands_at_is_no_update() -> None:
    model = network()
    with Recorder(model, every=1, at=4) as recorder:
        model(batch(1))
        assert recorder.step(4) is None
        model(batch(2))
        (row,) = recorder.step(5) or []
    assert row["passes"] == 2
    with Recorder(model, every=1) as recorder:  # a loop that counts from 0
        model(batch(1))
        assert recorder.step(0)


def test_the_log_takes_figures_by_name() -> None:
    model, seen = network(), []
    with Recorder(model, every=2, log=lambda row, step: seen.append((step, row))) as recorder:
        train(model, recorder, 1, 2)
    ((step, row),) = seen
    assert step == 2
    assert set(row) == {
        f"{figure}/1" for figure in ("mean_distance", "std_distance", "dead", "near_dead", "least_positive")
    }


def test_a_resumed_training_goes_on_in_its_file_and_one_that_was_rolled_back_supersedes(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "singularities.jsonl"
    for first, last in ((1, 4), (5, 6), (4, 5)):
        model = network()
        with Recorder(model, path, every=2 if first == 1 else 1, at=first - 1) as recorder:
            train(model, recorder, first, last)
    assert [row["step"] for row in read_rows(path)] == [2, 4, 5]
    assert [row["step"] for row in recorder.rows] == [4, 5]
    assert all(row["skipped"] is None for row in read_rows(path))


def test_by_default_a_recorder_goes_on_where_its_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "singularities.jsonl"
    for first in (1, 5):
        model = network()
        with Recorder(model, path, every=2) as recorder:
            train(model, recorder, first, first + 3)
    assert [row["step"] for row in read_rows(path)] == [2, 4, 6, 8]


def test_a_killed_training_leaves_whole_records(tmp_path: Path) -> None:
    path = tmp_path / "singularities.jsonl"
    code = (
        "import os, signal, sys, torch\n"
        "from weightatlas.conditioning.recorder import Recorder\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())\n"
        "recorder = Recorder(model, sys.argv[1], every=1)\n"
        "for step in range(1, 4):\n"
        "    model(torch.ones(2, 3)); recorder.step(step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)  # noqa: S603
    assert done.returncode == -9
    with path.open("ab") as file:
        file.write(b'{"step": 4, "layer": "0", "mean_dist')
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with Recorder(model, path, every=1) as recorder:
        model(torch.ones(2, 3))
        recorder.step(4)
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3, 4]


def test_a_full_disk_and_a_network_that_changes_end_the_record_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 5)])
            self.act = nn.ReLU()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.relu(torch.cat([layer(inputs) for layer in self.layers[: len(inputs)]], 1))

    model = Changing()
    recorder = Recorder(model, every=1)
    model(torch.ones(1, 2))
    model(torch.ones(2, 2))
    with pytest.warns(SingularityWarning, match="8 channels where those before had 3"):
        recorder.step(1)
    assert recorder.step(2) is None
    assert not hooks(model)

    network_ = network()
    recorder = Recorder(network_, tmp_path / "full.jsonl", every=1)

    def full(*_: Any) -> int:  # noqa: ANN401
        raise OSError(28, "No space left on device")

    class Full:
        write = full

        def close(self) -> None:
            pass

    assert recorder._file is not None
    recorder._file._file.close()  # type: ignore[union-attr]
    monkeypatch.setattr(recorder._file, "_file", Full())
    network_(batch(1))
    with pytest.warns(SingularityWarning, match="no space is left"):
        recorder.step(1)
    assert recorder.step(2) is None
    assert not hooks(network_)


def test_what_cannot_be_recorded_is_said_at_once(tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"record": "weight change of a training"}) + "\n")
    with pytest.raises(SourceError, match="no record of the singularities of a training"):
        Recorder(network(), other)
    with pytest.raises(SourceError, match="cannot be"):
        Recorder(network(), tmp_path)
    for options in ({"every": 0}, {"every": True}, {"dead": 2.0}):
        with pytest.raises(ValueError, match="must"):
            Recorder(network(), **options)
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    with pytest.raises(SourceError, match="scripted"):
        Recorder(scripted, every=100)
    recorder = Recorder(network())
    recorder.step(4)
    with pytest.raises(ValueError, match="steps go forward"):
        recorder.step(3)


@pytest.mark.parametrize(
    ("every", "steps"), [("log", [1, 2, 4, 8]), (lambda step: step + 3, [3, 6, 9]), (log_spaced(3), [1, 2, 5])]
)
def test_schedules_are_those_of_any_recorder(every: Every, steps: list[int]) -> None:
    model = network()
    with Recorder(model, every=every) as recorder:
        train(model, recorder, 1, 9)
    assert [row["step"] for row in recorder.rows] == steps


def test_steps_that_are_counted_in_leaps_are_recorded_once_they_are_due() -> None:
    model = network()
    with Recorder(model, every=3) as recorder:
        for step in range(2, 14, 2):  # two optimizers a batch
            model(batch(step))
            recorder.step(step)
    assert [row["step"] for row in recorder.rows] == [4, 8, 10]


def test_a_training_that_was_rolled_back_is_recorded_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "singularities.jsonl"
    for first, last in ((1, 8), (3, 5)):
        model = network()
        with Recorder(model, path, every=2) as recorder:
            train(model, recorder, first, last)
    assert [row["step"] for row in read_rows(path)] == [2, 4]


def test_in_data_parallel_training_the_first_process_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        model = network()
        with Recorder(model, every=1) as recorder:
            assert (hooks(model) > 0) is (rank == 0)
            model(batch(1))
            assert (recorder.step(1) is None) is (rank == 1)


def test_parts_that_are_called_by_themselves_are_recorded() -> None:
    model = nn.Module()
    model.inner = network()
    with Recorder(model, every=1) as recorder:
        model.inner(batch(1))
        (row,) = recorder.step(1) or []
    assert (row["layer"], row["examples"], row["passes"]) == ("inner.1", 8, 1)
