"""`weightatlas merge` from arguments to a row and a file."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.connectivity.test_merge import network
from weightatlas.cli.application import run
from weightatlas.connectivity.merge import COLUMNS
from weightatlas.result import columns_with_source

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "tests.connectivity.test_merge:plain"


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> tuple[str, str]:
    """Two networks, in two formats."""
    save_file(network(0).state_dict(), tmp_path / "a.safetensors")
    torch.save(network(1).state_dict(), tmp_path / "b.pt")
    return str(tmp_path / "a.safetensors"), str(tmp_path / "b.pt")


def _row(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["merge", *arguments, "--model", MODEL, "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == list(columns_with_source(COLUMNS))
    found: dict[str, Any] = row
    return found


def test_networks_that_are_not_aligned(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new.safetensors"
    row = _row(capsys, *pair, "--output", str(output), "--no-align", "--weight", "0.25")
    assert (row["source"], row["other"], row["output"]) == (*pair, str(output))
    assert (row["weight"], row["aligned"], row["skipped"]) == (0.25, False, "not aligned, as asked")
    assert 0 < row["similarity_before"] < 1
    expected = torch.lerp(network(0).state_dict()["0.weight"], network(1).state_dict()["0.weight"], 0.25)
    torch.testing.assert_close(load_file(output)["0.weight"], expected)


def test_networks_that_are_aligned_and_notes_beside_the_table(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = import_module("weightatlas.connectivity.merge")
    monkeypatch.setattr(room, "inputs_of", lambda _: torch.zeros(1, 3, 6, 6))
    assert run(["merge", *pair, "--model", MODEL, "--output", str(tmp_path / "new.safetensors")]) == 0
    captured = capsys.readouterr()
    assert "batch-norm statistics are the averages of both networks'" in captured.err
    assert "aligned" in captured.out
    assert (tmp_path / "new.safetensors").stat().st_size == (tmp_path / "a.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{a}", "{b}", "--output", "{b}"], 1, "would be written over an input"),
        (["{a}", "{b}", "--output", "{a}"], 1, "would be written over an input"),
        (["{a}", "{b}", "--output", "{a}.pt"], 1, "its name says torch, what is written is safetensors"),
        (["{a}", "none.pt", "--output", "x.safetensors"], 1, "none.pt"),
        (["{a}", "{b}"], 2, "--output"),
        (["{a}", "--output", "x.safetensors"], 2, "--second"),
        (["{a}", "{b}", "--output", "x.safetensors", "--weight", "1.5"], 2, "--weight"),
        (["{a}", "{b}", "--output", "x.safetensors", "--recalibrate", "never"], 2, "--recalibrate"),
        (["{a}", "{b}", "--output", "x.safetensors", "--model", "nonsense"], 1, "nonsense"),
    ],
)
def test_failures_are_one_line_and_a_code(
    arguments: list[str], code: int, said: str, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [one.format(a=pair[0], b=pair[1]) for one in arguments]
    assert run(["merge", *given, *([] if "--model" in given else ["--model", MODEL])]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_data_that_are_needed_and_not_there(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["merge", *pair, "--model", MODEL, "--output", "x.safetensors", "--recalibrate", "repair"]
    assert run(arguments) == 2
    assert "--recalibrate repair needs --data" in capsys.readouterr().err
