"""`weightatlas branching` from arguments to rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import save_file

import weightatlas.branching
from tests.branching.planted_networks import UNITS, Branched
from weightatlas.branching import BranchingSurvey
from weightatlas.cli.application import run

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "tests.branching.planted_networks:Branched"


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    file = tmp_path / "model.safetensors"
    save_file(Branched().state_dict(), file)
    return str(file)


def _rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert run(["branching", *arguments, "--shuffles", "19", "--format", "json", "--quiet"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


@pytest.mark.parametrize("table", list(BranchingSurvey.tables))
def test_every_table_is_printed_with_its_fields(
    checkpoint: str, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    rows = _rows(capsys, checkpoint, "--model", MODEL, "--table", table)
    fields = [column for column in BranchingSurvey.tables[table] if column != "skipped"]
    assert rows
    assert all(list(row) == [*fields, "source", "skipped"] for row in rows)
    assert {row["source"] for row in rows} == {checkpoint}


def test_clusterability_is_measured_when_its_table_is_asked_for(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = _rows(capsys, checkpoint, "--table", "clusterability")
    assert row["skipped"] is None
    assert row["ncut"] > 0


def test_families_of_a_file_are_the_first_table(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    families = tmp_path / "families.json"
    families.write_text(json.dumps({"conv1": {"first": [*range(UNITS // 2)]}}), encoding="utf-8")
    rows = _rows(capsys, checkpoint, "--model", MODEL, "--families", str(families), "--chosen-after-looking")
    first = next(row for row in rows if row["branch"] == "group 1")
    assert (first["k"], first["by"], first["chosen_after_looking"]) == (UNITS // 2, "families.json", True)
    assert first["p_value"] == pytest.approx(1 / 924)


def test_branches_may_come_from_a_file(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    branches = tmp_path / "branches.json"
    branches.write_text(json.dumps({"conv3": {"left": [0, 1], "right": [2, 3, 4]}}), encoding="utf-8")
    rows = _rows(capsys, checkpoint, "--branches", str(branches), "--table", "branches")
    assert [(row["branch"], row["size"]) for row in rows if row["layer"] == "conv3"] == [("left", 2), ("right", 3)]


def test_a_terminal_shows_small_probabilities(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    families = tmp_path / "families.csv"
    lines = [f"conv1,{unit},first" for unit in range(UNITS // 2)]
    families.write_text("\n".join(["layer,unit,family", *lines]) + "\n", encoding="utf-8")
    assert run(["branching", checkpoint, "--model", MODEL, "--families", str(families), "--shuffles", "19"]) == 0
    assert "1.08e-03" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layer", "conv3"], "--model"),
        (["--model", MODEL, "--layer", "conv33"], "did you mean"),
        (["--model", "weightatlas:simplified"], "weightatlas:"),
        (["--families", "none.json"], "none.json"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    checkpoint: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["branching", checkpoint, *arguments, "--shuffles", "19", "--quiet"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_one_of_several_sources_may_fail(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.pt")
    assert run(["branching", missing, checkpoint, "--table", "branches", "--format", "json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)
    assert "missing.pt" in captured.err


def test_several_sources_are_compared(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.safetensors"
    save_file(Branched(seed=1).state_dict(), other)
    rows = _rows(capsys, checkpoint, str(other), "--model", MODEL, "--table", "consistency")
    assert {row["family"] for row in rows} == {"colour", "black-and-white"}
    assert all(row["runs"] == 2 for row in rows)


def test_one_source_cannot_be_compared(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["branching", checkpoint, "--model", MODEL, "--table", "consistency", "--shuffles", "19"]) == 1
    assert "two sources" in capsys.readouterr().err


def test_units_that_a_layer_lacks_are_one_line(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    branches = tmp_path / "branches.json"
    branches.write_text(json.dumps({"conv1": {"left": [0, 1], "right": [UNITS]}}), encoding="utf-8")
    assert run(["branching", checkpoint, "--branches", str(branches), "--quiet"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"branch 'right' names {UNITS}" in captured.err


def test_what_is_left_out_of_families_is_said_on_standard_error(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    families = tmp_path / "families.json"
    families.write_text(json.dumps({"conv1": {"first": [0, 0, 1]}}), encoding="utf-8")
    assert run(["branching", checkpoint, "--model", MODEL, "--families", str(families), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert "names 0 twice" in captured.err
    assert {row["family"] for row in json.loads(captured.out)} == {"first"}


def test_hidden_branches_are_looked_for_only_where_they_come_out(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def survey(*_: object, **options: object) -> BranchingSurvey:
        asked.append(options["with_hidden"])
        return found

    found = weightatlas.branching.survey(checkpoint, shuffles=9)
    monkeypatch.setattr("weightatlas.branching.survey", survey)
    outputs = [["--table", "implicit"], ["--output", str(tmp_path / "page.html")], [], ["--table", "branches"]]
    for arguments in [*outputs, ["--output", str(tmp_path / "rows.csv")]]:
        assert run(["branching", checkpoint, "--quiet", *arguments]) == 0
    assert asked == [True, True, False, False, False]


def test_a_table_has_no_empty_columns(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["branching", checkpoint, "--quiet"]) == 0
    assert "responds to" not in capsys.readouterr().out
    assert run(["branching", checkpoint, "--quiet", "--model", MODEL, "--layer", "conv3"]) == 0
    assert "responds to" in capsys.readouterr().out


def test_pictures_need_a_layer(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["branching", checkpoint, "--model", MODEL, "--pictures"]) == 2
    assert "--layer" in capsys.readouterr().err
