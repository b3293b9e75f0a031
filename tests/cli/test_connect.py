"""`weightatlas connect` from arguments to rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.connectivity.example_networks import Small, reordered, save
from weightatlas.cli.application import run
from weightatlas.connectivity import Connection

if TYPE_CHECKING:
    from pathlib import Path

ROOM = "tests.connectivity.example_networks"
MODEL = ["--model", f"{ROOM}:Small", "--quiet", "--restarts", "1"]
DATA = ["--data", f"{ROOM}:batches", "--points", "3", "--examples", "32", "--layer-examples", "8"]


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    network = Small()
    return [save(network, tmp_path / "first.pt"), save(reordered(network), tmp_path / "second.pt")]


def _rows(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    assert run(["connect", *arguments, *MODEL, "--format", "json"]) == code
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return rows


@pytest.mark.parametrize("table", list(Connection.tables))
def test_every_table_is_printed_with_its_fields(
    pair: list[str], capsys: pytest.CaptureFixture[str], table: str
) -> None:
    rows = _rows(capsys, *pair, *DATA, "--table", table)
    fields = [column for column in Connection.tables[table] if column != "skipped"]
    assert rows
    assert all(list(row) == [*fields, "source", "skipped"] for row in rows)


def test_the_contract_of_the_path_comes_first(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rows = _rows(capsys, *pair, *DATA, "--lines-only")
    assert list(rows[0])[:5] == ["alpha", "loss", "error", "aligned", "recalibrated"]
    aligned = [row for row in rows if row["aligned"] and not row["recalibrated"]]
    assert max(row["error"] for row in aligned) == 0
    assert max(row["error"] for row in rows) > 0


def test_a_reader_sees_a_row_a_line_and_what_was_found(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", *pair, *MODEL, *DATA, "--lines-only"]) == 0
    printed = capsys.readouterr()
    assert "loss barrier" in printed.out
    assert "a straight line joins the networks" in printed.err


def test_without_data_a_reader_sees_the_groups(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", *pair, *MODEL]) == 0
    printed = capsys.readouterr()
    assert "conv2" in printed.out
    assert "nearer" in printed.err


def test_one_that_cannot_be_opened_is_told_and_the_rest_is_done(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(capsys, pair[0], str(tmp_path / "absent.pt"), pair[1], "--table", "barriers", code=1)
    assert "absent.pt" in rows[0]["skipped"]
    assert rows[1]["similarity"] == pytest.approx(1)


def test_one_network_is_a_wrong_use(pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connect", pair[0], *MODEL]) == 2
    assert "two networks or more" in capsys.readouterr().err


def test_a_page_is_written(pair: list[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(["connect", *pair, *MODEL, *DATA, "--output", str(page)]) == 0
    assert "Once aligned and recalibrated" in page.read_text(encoding="utf-8")
