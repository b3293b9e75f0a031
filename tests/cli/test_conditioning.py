"""`weightatlas conditioning` from arguments to rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

from tests.conditioning.example_networks import Small, save_run
from weightatlas.cli.application import run
from weightatlas.conditioning import Conditioning

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "tests.conditioning.example_networks:Small"
QUICK = ["--examples", "16", "--smooth-examples", "8", "--draws", "1", "--data", "scenes", "--model", MODEL, "--quiet"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    save_run(tmp_path, {0: Small(dead=1)})
    return str(tmp_path / "step0.safetensors")


@pytest.fixture
def trained(tmp_path: Path) -> str:
    folder = tmp_path / "run"
    folder.mkdir()
    save_run(folder, {0: Small(), 10: Small(dead=1), 20: Small(dead=2)})
    return str(folder)


def _rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert run(["conditioning", *arguments, *QUICK, "--format", "json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return rows


@pytest.mark.parametrize("table", list(Conditioning.tables))
def test_every_table_is_printed_with_its_fields(
    checkpoint: str, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    rows = _rows(capsys, checkpoint, "--table", table)
    fields = [column for column in Conditioning.tables[table] if column != "skipped"]
    assert rows
    assert all(list(row) == [*fields, "source", "skipped"] for row in rows)
    assert {row["source"] for row in rows} == {checkpoint}


def test_a_run_shows_its_steps_and_a_checkpoint_its_layers(
    trained: str, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row["step"] for row in _rows(capsys, trained, "--channels-only", "--moments", "2")] == [0, 20]
    assert [row["layer"] for row in _rows(capsys, checkpoint, "--channels-only")] == ["norm1", "norm2", "conv3"]


def test_a_terminal_has_a_step_of_runs_only(trained: str, checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conditioning", trained, *QUICK, "--channels-only"]) == 0
    assert capsys.readouterr().out.split()[0] == "step"
    assert run(["conditioning", checkpoint, *QUICK, "--channels-only"]) == 0
    assert "step" not in capsys.readouterr().out.splitlines()[0].split()


def test_training_mode_uses_the_batches(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    (first, *_) = _rows(capsys, checkpoint, "--training", "--channels-only")
    assert first["mean_distance"] == pytest.approx(0, abs=1e-5)
    assert first["std_distance"] < 0.2
    (first, *_) = _rows(capsys, checkpoint, "--channels-only")
    assert first["std_distance"] > 0.2  # by running estimates that never saw data


def test_the_same_seed_gives_the_same_bytes(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (_rows(capsys, checkpoint, "--table", "steps", "--seed", "4") for _ in range(2))
    assert one == two


def test_notes_are_said_once(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conditioning", trained, *QUICK, "--channels-only"]) == 0
    assert capsys.readouterr().err.count("no channel can be shown") == 1


def test_a_checkpoint_that_diverged_is_left_out(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = Small()
    nn.init.constant_(lost.conv2.weight, float("nan"))
    save_run(tmp_path / "run", {10: lost})
    assert run(["conditioning", trained, *QUICK, "--channels-only", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert [row["step"] for row in json.loads(captured.out)] == [0, 20]
    assert captured.err.count("step 10 is left out: conv2.weight holds NaN") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "nonsense", "--model", MODEL], 1, "nonsense"),
        (["--data", "scenes"], 1, "none is named"),
        (["--data", "scenes", "--model", f"{MODEL}?classes=3"], 1, "does not fit"),
        (["--data", "text", "--model", MODEL], 1, ""),
        (["--model", MODEL], 2, "--data"),
        (["--data", "scenes", "--model", MODEL, "--draws", "0"], 2, "--draws"),
        (["--data", "scenes", "--model", MODEL, "--output", "found.docx"], 2, "found.docx"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    checkpoint: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert run(["conditioning", checkpoint, *arguments, "--quiet"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_one_of_several_sources_may_fail(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.pt")
    assert run(["conditioning", missing, checkpoint, *QUICK, "--channels-only", "--format", "json"]) == 1
    captured = capsys.readouterr()
    assert {row["source"] for row in json.loads(captured.out)} == {checkpoint}
    assert "missing.pt" in captured.err


def test_a_page_and_arrays_are_written(checkpoint: str, tmp_path: Path) -> None:
    for name in ("page.html", "found.npz"):
        assert run(["conditioning", checkpoint, *QUICK, "--channels-only", "--output", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1000
