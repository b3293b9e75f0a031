from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.change.trained import LAYERS, MOVES, network, update, updates
from weightatlas.change.recorder import Recorder
from weightatlas.change.recording import kept_groups, local_parts
from weightatlas.change.recording.alerts import WeightChangeWarning
from weightatlas.change.recording.device_kept import DeviceKept
from weightatlas.change.records import read_records
from weightatlas.change.statistics import statistics
from weightatlas.change.tables import COLUMNS
from weightatlas.errors import SourceError
from weightatlas.recording.schedules import log_spaced

if TYPE_CHECKING:
    from weightatlas.change.recording.local_parts import LocalPart

ROOT = Path(__file__).resolve().parents[2]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if "record" not in line]


def steps(path: Path) -> list[int]:
    return sorted({row["step"] for row in rows(path)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "change.jsonl"


def test_each_row_says_how_much_its_layer_grew(path: Path) -> None:
    model = network()
    with Recorder(model, path) as recorder:
        for step in updates(model, 3):
            found = recorder.step(step)
            assert found is not None
            assert [row["layer"] for row in found] == list(LAYERS)
            for row in found:
                assert row["ratio_l1"] == pytest.approx(MOVES[row["layer"]])
                assert (row["step"], row["since"], row["skipped"]) == (step, step - 1, None)
                assert tuple(row) == COLUMNS["steps"]
    assert [row["ratio_l1"] for row in rows(path)] == pytest.approx([*MOVES.values()] * 3)
    assert lines(path)[0]["form"] == 1


def test_all_figures_are_those_of_the_statistics(path: Path) -> None:
    model = network(torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    history = [[parameter.detach().clone() for parameter in model.parameters()]]
    options = {"tensors": "all", "with_start": True, "with_previous": True, "median": True}
    with Recorder(model, path, **options) as recorder:  # type: ignore[arg-type]
        for step in range(1, 5):
            model(torch.randn(3, 6, generator=torch.Generator().manual_seed(step))).square().sum().backward()
            optimizer.step()
            history.append([parameter.detach().clone() for parameter in model.parameters()])
            found = recorder.step(step) or []
            for index, row in enumerate(found):
                expected = statistics(
                    history[-2][index],
                    history[-1][index],
                    start=history[0][index],
                    previous=history[-3][index] if step > 1 else None,
                    median=True,
                )
                for figure in ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start", "median", "zeros"):
                    value = getattr(expected, figure)
                    want = value if value == value else None  # noqa: PLR0124 - NaN
                    assert row[figure] == (None if want is None else pytest.approx(want, rel=1e-6)), figure


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [1, 2, 3, 4, 5, 6, 7, 8, 9]), (4, [4, 8]), ("log", [1, 2, 4, 8]), (log_spaced(2), [1, 3])],
)
def test_the_schedule_says_which_steps_are_recorded(path: Path, every: Any, expected: list[int]) -> None:  # noqa: ANN401
    model = network()
    with Recorder(model, path, every=every) as recorder:
        for step in updates(model, 9):
            assert (recorder.step(step) is not None) == (step in expected)
    assert steps(path) == expected
    changes = read_records(path)
    assert changes.since == (0, *expected[:-1])
    for layer in changes.layers:  # a record is of all updates since the one before
        counts = [step - since for step, since in zip(changes.steps, changes.since, strict=True)]
        grown = [(1 + MOVES[layer.layer]) ** count - 1 for count in counts]
        assert layer.figures["ratio_l1"].tolist() == pytest.approx(grown)


def test_a_step_that_is_left_out_is_made_up_for_at_the_next_call(path: Path) -> None:
    model = network()
    with Recorder(model, path, every=4) as recorder:
        for step in updates(model, 12):
            if step != 4:
                recorder.step(step)
    assert steps(path) == [5, 8, 12]


def test_the_same_step_again_does_nothing_and_an_earlier_one_is_an_error(path: Path) -> None:
    model = network()
    recorder = Recorder(model, path)
    update(model)
    assert recorder.step(1) is not None
    update(model)
    assert recorder.step(1) is None
    with pytest.raises(ValueError, match="steps go forward: 0 came after 1"):
        recorder.step(0)
    recorder.close()
    assert recorder.step(2) is None
    assert steps(path) == [1]


def test_a_call_at_the_first_step_takes_the_weights_anew(path: Path) -> None:
    model = network()
    with Recorder(model, path, with_start=True) as recorder:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(7)  # a checkpoint is loaded, say
        assert recorder.step(0) is None
        update(model)
        found = recorder.step(1) or []
    assert [row["from_start"] for row in found] == pytest.approx([*MOVES.values()])


def test_rows_go_to_a_log_by_the_names_of_the_layers(path: Path) -> None:
    model = network()
    told: list[tuple[dict[str, float], int]] = []
    with Recorder(model, path, every=2, log=lambda row, step: told.append((row, step))) as recorder:
        for step in updates(model, 4):
            recorder.step(step)
    assert [step for _, step in told] == [2, 4]
    assert told[0][0] == {f"change/{name}": pytest.approx((1 + move) ** 2 - 1) for name, move in MOVES.items()}


def test_a_layer_of_zeros_has_no_ratio_and_is_not_logged(path: Path) -> None:
    model = network()
    nn.init.zeros_(model.get_parameter("2.weight"))
    told: list[dict[str, float]] = []
    with Recorder(model, path, log=lambda row, _: told.append(row)) as recorder:
        for step in updates(model, 1):
            recorder.step(step)
    assert [sorted(row) for row in told] == [["change/0", "change/4"]]


def test_a_layer_that_leaves_zero_says_why_it_has_no_ratio(path: Path) -> None:
    model = network()
    nn.init.zeros_(model.get_parameter("2.weight"))
    with Recorder(model, path) as recorder:
        for step in (1, 2):
            for parameter in model.parameters():
                parameter.data.add_(0.1)
            recorder.step(step)
    layer = read_records(path).layers[1]
    assert layer.reasons == {0: "all its weights were 0 at the record before: no ratio"}
    np.testing.assert_allclose(layer.figures["ratio_l1"], [math.nan, 1], rtol=1e-6)


def test_nan_in_one_layer_is_said_and_the_others_are_measured(path: Path) -> None:
    model = network()
    with Recorder(model, path) as recorder:
        update(model)
        model.get_parameter("2.weight").data[0, 0] = torch.nan
        found = recorder.step(1) or []
    assert [row["ratio_l1"] is None for row in found] == [False, True, False]
    assert found[1]["skipped"].startswith("NaN or infinite weights")


def test_a_layer_that_stops_is_warned_of_once(path: Path) -> None:
    model = network()
    told: list[tuple[str, int]] = []
    with Recorder(model, path, warn_stopped=3, on_stopped=lambda *stopped: told.append(stopped)) as recorder:
        for step in range(1, 12):
            update(model, frozen=("2",) if step > 4 else ())
            recorder.step(step)
    assert told == [("2", 5)]
    model = network()
    with Recorder(model, path.with_name("other.jsonl"), warn_stopped=2) as recorder:
        update(model)
        recorder.step(1)
        update(model, frozen=("4",))
        recorder.step(2)
        update(model, frozen=("4",))
        with pytest.warns(WeightChangeWarning, match="4 has stopped learning at step 2") as caught:
            recorder.step(3)
    assert caught[0].filename == __file__


def test_weights_rounded_to_be_kept_have_only_the_figures_that_stay_right(path: Path) -> None:
    model = network(torch.float32)
    options = {"with_start": True, "with_previous": True, "median": True}
    with Recorder(model, path, keep_dtype=torch.bfloat16, **options) as recorder:  # type: ignore[arg-type]
        for step in updates(model, 2):
            found = recorder.step(step) or []
    for row in found:
        assert row["ratio_l1"] == pytest.approx(MOVES[row["layer"]], rel=0.3)  # few weights, each rounded
        assert row["from_start"] is not None
        assert [row[name] for name in ("ratio_l2", "cosine", "angle_from_start", "median")] == [None] * 4


def test_on_an_accelerator_a_record_is_written_at_the_next_call_or_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the code of an accelerator, on the CPU."""

    def on_device(parts: list[LocalPart], *, dtype: torch.dtype, median: bool, **options: Any) -> DeviceKept:  # noqa: ANN401
        assert not median
        return DeviceKept(parts, dtype=dtype, device=torch.device("cpu"), **options)

    monkeypatch.setattr(kept_groups, "HostKept", on_device)
    model = network(torch.float32)
    with Recorder(model, path) as recorder:
        given = [recorder.step(step) for step in updates(model, 3)]
        assert given[0] is None
        assert [row["step"] for row in given[2] or []] == [2, 2, 2]
        assert [row["step"] for row in recorder.close() or []] == [3, 3, 3]
    assert [row["ratio_l1"] for row in rows(path)] == pytest.approx([*MOVES.values()] * 3, rel=1e-4)
    with Recorder(model, path.with_name("waits.jsonl"), log=lambda *_: None) as recorder:
        given = [recorder.step(step) for step in updates(model, 2)]
    assert [[row["step"] for row in record or []] for record in given] == [[1, 1, 1], [2, 2, 2]]


def test_a_resumed_training_goes_on_behind_what_is_there(path: Path) -> None:
    model = network()
    with Recorder(model, path, with_start=True) as recorder:
        for step in updates(model, 4):
            recorder.step(step)
    with Recorder(model, path, with_start=True) as recorder:
        for step in updates(model, 8, first=5):
            found = recorder.step(step) or []
    assert [row["from_start"] for row in found] == [None] * 3  # the first weights are no longer there
    changes = read_records(path)
    assert changes.steps == tuple(range(1, 9))
    assert changes.since == tuple(range(8))
    assert changes.curves().tolist() == [pytest.approx([MOVES[name]] * 8) for name in LAYERS]


@pytest.mark.parametrize("at", [None, 3])
def test_steps_that_are_trained_anew_replace_the_old_ones(path: Path, at: int | None) -> None:
    model = network()
    with Recorder(model, path) as recorder:
        for step in updates(model, 6):
            recorder.step(step)
    with Recorder(model, path, every=2, at=at) as recorder:  # resumed from a checkpoint of step 3
        for step in updates(model, 8, first=4):
            recorder.step(step)
    changes = read_records(path)
    assert changes.steps == (1, 2, 3, 4, 6, 8)
    assert changes.since == (0, 1, 2, 3, 4, 6)
    assert changes.notes == ("steps 4 to 6 were recorded and then trained anew; the later records count",)


def test_the_other_processes_of_data_parallel_training_do_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    model = network()
    with Recorder(model, path) as recorder:
        assert [recorder.step(step) for step in updates(model, 3)] == [None] * 3
    assert not path.parent.exists()


def test_a_full_disk_ends_the_recording_and_not_the_training(path: Path) -> None:
    model = network()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Recorder(model, path) as recorder:
            update(model)
            assert recorder.step(1) is not None
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limit[1]))
            update(model)
            with pytest.warns(WeightChangeWarning, match="not recorded any longer: .*no space is left"):
                recorder.step(2)
            assert recorder.step(3) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert read_records(path).curves()[:, 0].tolist() == pytest.approx([*MOVES.values()])


def test_a_model_that_is_sharded_later_ends_the_recording_and_not_the_training(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    with Recorder(model, path) as recorder:
        monkeypatch.setattr(local_parts, "is_dtensor", lambda _: True)
        with pytest.warns(WeightChangeWarning, match="make the recorder after fully_shard"):
            recorder.step(1)
        assert recorder.step(2) is None


KILLED = """
import os, signal, sys
from tests.change.trained import network, updates
from weightatlas.change.recorder import Recorder
model = network()
recorder = Recorder(model, sys.argv[1])
for step in updates(model, 5):
    recorder.step(step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_training_leaves_every_record_that_it_made(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, env=environment, check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL
    assert read_records(path).steps == (1, 2, 3, 4, 5)


def test_what_cannot_be_recorded_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no parameters of more than one dimension"):
        Recorder(nn.BatchNorm2d(3), path)
    frozen = network().requires_grad_(False)
    with pytest.raises(SourceError, match=r"frozen: it requires no gradient\); give frozen=True"):
        Recorder(frozen, path)
    (tmp_path / "notes.txt").write_text("my notes\n")
    with pytest.raises(SourceError, match="no record of the weight change of a training"):
        Recorder(network(), tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="cannot be written"):
        Recorder(network(), tmp_path / "notes.txt" / "change.jsonl")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"tensors": "kernels"}, "tensors must be one of weights, all"),
        ({"zero": "nan"}, "zero must be one of"),
        ({"keep_dtype": torch.int8}, "keep_dtype must be a floating-point type"),
        ({"every": 0}, "every must be"),
        ({"warn_stopped": 0}, "records"),
        ({"median": True, "keep_device": "meta"}, "the median is counted on the CPU"),
    ],
)
def test_options_that_are_none(path: Path, option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorder(network(), path, **option)
