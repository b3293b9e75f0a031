"""`weightatlas degeneracy` from arguments to rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.degeneracy.small_networks import saved, trained
from weightatlas.cli.application import run
from weightatlas.degeneracy import Degeneracy
from weightatlas.result import columns_with_source

if TYPE_CHECKING:
    from pathlib import Path

ROOM = "tests.degeneracy.small_networks"
MODEL = ["--model", f"{ROOM}:Small", "--quiet"]
DATA = ["--data", f"{ROOM}:batches", "--nulls", "3"]


@pytest.fixture
def network(tmp_path: Path) -> str:
    return saved(trained(), tmp_path / "small.safetensors")


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    assert run(["degeneracy", *arguments, *MODEL, "--format", "json"]) == code
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return rows


@pytest.mark.parametrize("table", [table for table in Degeneracy.tables if table != "chains"])
def test_every_table_is_printed_with_its_fields(network: str, capsys: pytest.CaptureFixture[str], table: str) -> None:
    rows = rows_of(capsys, network, *DATA, "--table", table)
    assert rows
    assert all(tuple(row) == columns_with_source(Degeneracy.tables[table]) for row in rows)
    assert any(row["skipped"] is None for row in rows)


def test_chains_are_sampled(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(capsys, network, *DATA, "--table", "chains", "--chains", "2", "--draws", "20")
    assert [row["chain"] for row in rows] == [None, 1, 2]
    assert rows[0]["nbeta"] > 0
    options = ("--table", "chains", "--chains", "2", "--draws", "40", "--localization", "1e5")
    held = rows_of(capsys, network, *DATA, *options)
    assert abs(held[0]["estimate"]) < abs(rows[0]["estimate"])
    assert any("held by the prior" in flag for flag in held[0]["flags"])


def test_the_contract_of_the_counts_comes_first(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(capsys, network, *DATA)
    assert list(rows[0])[:4] == ["layer", "source", "directions", "data_limited"]
    kinds = ["activations", "gradients", "synchronised", "rescalings", "conditional", "heads"]
    kinds += ["linear", "norms", "union", "exact"]
    assert [row["source"] for row in rows if row["layer"] is None][:-1] == kinds
    assert rows[0]["checkpoint"] == network


def test_a_reader_sees_the_counts_and_what_was_found(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["degeneracy", network, *MODEL, *DATA]) == 0
    printed = capsys.readouterr()
    assert "freed by" in printed.out
    assert "directions of the weights" in printed.err


def test_a_page_holds_counts_and_structure(network: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(["degeneracy", network, *MODEL, *DATA, "--output", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "interaction basis" in text
    assert "change no output" in text


def test_points_are_named(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(capsys, network, *DATA, "--table", "edges", "--at", "second", "--at", "output")
    assert {(row["layer"], row["target"]) for row in rows} == {("second", "output")}


def test_a_point_that_is_not_there_names_near_ones(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["degeneracy", network, *MODEL, *DATA, "--table", "edges", "--at", "secnd", "--at", "output"]) == 1
    assert "second" in capsys.readouterr().err


def test_data_that_are_not_finite_are_an_error_of_one_line(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["degeneracy", network, *MODEL, "--data", f"{ROOM}:not_finite"]) == 1
    assert "finite" in capsys.readouterr().err


def test_one_of_several_that_cannot_be_opened_is_told_and_the_rest_is_done(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(capsys, str(tmp_path / "absent.pt"), network, *DATA, code=1)
    assert {row["checkpoint"] for row in rows} == {network}


@pytest.mark.parametrize("points", [["fc1"], ["output", "output"]])
def test_between_fewer_than_two_points_there_is_nothing(
    network: str, points: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [part for point in points for part in ("--at", point)]
    assert run(["degeneracy", network, *MODEL, *DATA, *chosen]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "two points or more are needed" in line


def test_rows_of_the_whole_network_say_so_in_a_terminal(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["degeneracy", network, *MODEL, *DATA, "--counts-only"]) == 0
    header, _, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["layer", "freed", "by", "directions"]
    assert first.split()[:2] == ["(network)", "activations"]
