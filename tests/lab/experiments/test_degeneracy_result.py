from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.degeneracies_for_tests import GAP, PARAMETERS, PCA_EDGES, UNION, figures, made, trained
from weightatlas.lab.experiments.degeneracy import quick
from weightatlas.lab.experiments.degeneracy_result import RANKED
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult

RUNS = 25


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DegeneracyResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_layers_are_told_with_what_was_not_measured_left_open(result: DegeneracyResult) -> None:
    rows = result.rows("layers")
    assert len(rows) == 2 * RUNS
    assert (rows[0]["layer"], rows[0]["activations"], rows[0]["union"]) == ("first", 200, 210)
    assert rows[1]["gradients"] is None
    assert rows[1]["effective_rank"] is None


def test_edges_of_every_pair_of_points_say_what_is_spared(result: DegeneracyResult) -> None:
    rows = [row for row in result.rows("edges") if row["variant"] == "digits" and row["seed"] == 1]
    assert [(row["source"], row["target"]) for row in rows] == [
        ("hidden1", "hidden2"),
        ("hidden2", "classifier"),
        ("classifier", "classifier:output"),
    ]
    assert all(row["spared"] == pytest.approx(1 - row["interaction"] / PCA_EDGES) for row in rows)
    assert {row["modulus"] for row in result.rows("edges")} == {None, 23}


def test_the_curve_says_what_the_data_limit(result: DegeneracyResult) -> None:
    rows = result.rows("curve")[:3]
    assert [row["limited"] for row in rows] == [True, True, False]
    assert rows[2]["nullity"] == UNION - 1 + GAP
    assert rows[0]["nullity"] == PARAMETERS - 10


def test_negative_estimates_stay_as_they_are_and_flagged(result: DegeneracyResult) -> None:
    first = result.rows("course")[0]
    assert (first["llc"], first["flags"]) == (-3.0, "the estimate is negative")


def test_ranks_go_with_the_held_out_loss_as_planted(result: DegeneracyResult) -> None:
    rows = {(row["variant"], row["measure"]): row for row in result.rows("ranks")}
    stopped = {"mixed", "modular", "addition-23"}
    assert {variant for variant, measure in rows if measure is None} == stopped
    assert len(rows) == 2 * len(RANKED) + len(stopped)
    found = rows["digits", "nullity"]  # falls from seed to seed as the loss rises
    assert found["rho"] == pytest.approx(-1)
    assert found["p_value"] == pytest.approx(2 / 120)
    assert rows["digits", "effective_rank"]["skipped"] == "fewer than four seeds, or the same figure in all"


def test_the_verdicts_are_those_of_what_was_planted(result: DegeneracyResult) -> None:
    verdicts = {
        (row["variant"], row["measure"]): row["verdict"]
        for row in result.rows("effects")
        if row["expected"] is not None
    }
    assert verdicts["digits", "followed"] == "agrees"
    assert verdicts["digits", "edges_gain"] == "agrees"
    assert verdicts["mixed", "edges_gain"] == "disagrees"
    assert verdicts["addition-23", "edges_gain"] == "undecided"
    for measure in ("nullity", "llc", "modularity_gain"):
        assert verdicts["modular", measure] == "agrees"


def test_what_could_not_be_measured_says_why(tmp_path: Path) -> None:
    def without_structure(run: Run) -> Measurement:
        full = figures(run)
        arrays = {name: array for name, array in full.arrays.items() if not name.startswith("edges/")}
        return Measurement(dict(full.figures) | {"missing": "structure: no cut", "edges_gain": None}, arrays)

    made_here = replace(quick(seeds=(1,)), measure=without_structure)
    result = run_experiment(made_here, tmp_path, jobs=1, runner=trained)
    assert {row["skipped"] for row in result.rows("edges")} == {"structure: no cut"}
    assert result.rows("layers")[0]["skipped"] is None


def test_all_columns_are_those_of_the_tables(result: DegeneracyResult) -> None:
    for table, columns in result.tables.items():
        assert all(tuple(row) == tuple(columns) for row in result.rows(table))
    assert result.arrays()["digits/seed-1/edges/interaction"].shape == (3,)
