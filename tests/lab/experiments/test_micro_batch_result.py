from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lab.experiments.micro_batches_for_tests import SCORES, STEPS, made
from weightatlas.lab.experiments.micro_batch import cifar10_small, quick_rates
from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
from weightatlas.lab.experiments.micro_batch_variants import ALL


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> MicroBatchResult:
    return made(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> MicroBatchResult:
    """The experiment that has the two halves of standardisation too."""
    return made(tmp_path_factory.mktemp("halves"), cifar10_small("cifar10:a"))


def verdicts(result: MicroBatchResult) -> dict[tuple[str, str, str], str]:
    return {
        (row["variant"], row["measure"], row["expected"]): row["verdict"]
        for row in result.rows("effects")
        if row["expected"] is not None
    }


def test_rows_have_the_columns_of_their_table(result: MicroBatchResult) -> None:
    for table, columns in result.tables.items():
        rows = result.rows(table)
        assert rows
        assert all(tuple(row) == columns for row in rows)


def test_a_terminal_shows_columns_that_there_are() -> None:
    for table, shown in MicroBatchResult.terminal.items():
        assert {key for key, _ in shown} <= set(MicroBatchResult.tables[table])


def test_verdicts_follow_what_was_planted(result: MicroBatchResult) -> None:
    found = verdicts(result)
    assert found["bn.b1", "score", "lower"] == "agrees"
    assert found["gn.b1", "score", "higher"] == "agrees"
    assert found["gn-ws.b1", "score", "higher"] == found["gn-ws.b16", "score", "higher"] == "agrees"
    assert found["gn-ws.b1", "loss_lipschitz", "lower"] == "agrees"
    assert found["bcn-ws.b1", "loss_lipschitz", "lower"] != "agrees", "nothing was planted there"
    assert found["bcn.b1", "mean_distance", "lower"] == "agrees"
    assert found["bcn-ws.b16", "std_distance", "lower"] == "agrees"


def test_the_last_claim_compares_a_micro_batch_with_batch_norm_of_the_largest(result: MicroBatchResult) -> None:
    rows = [row for row in result.rows("effects") if row["variant"] == "bcn-ws.b1" and row["expected"] == "not lower"]
    assert [row["against"] for row in rows] == ["gn-ws.b1", "bn.b16"]
    assert rows[1]["effect"] == pytest.approx(SCORES["bcn-ws"] - SCORES["bn"], abs=0.005)
    assert [row["verdict"] for row in rows] == ["agrees", "agrees"]


def test_centring_and_scaling_are_judged_by_the_gain_of_both(halves: MicroBatchResult) -> None:
    found = verdicts(halves)
    for batch in (2, 64):
        assert found[f"gn-centred.b{batch}", "score", "over half"] == "agrees"
        assert found[f"gn-scaled.b{batch}", "score", "under half"] == "agrees"
    row = next(row for row in halves.rows("effects") if row["expected"] == "over half")
    assert row["gain_of"] == "gn-ws.b64"
    assert row["judged_low"] > 0


def test_methods_stand_from_best_to_worst_by_task_and_batch_size(result: MicroBatchResult) -> None:
    cells: dict[tuple[str, int], list[str]] = {}
    for row in result.rows("methods"):
        cells.setdefault((row["task"], row["batch"]), []).append(row["method"])
        assert row["place"] == len(cells[row["task"], row["batch"]])
        assert row["low"] < row["score"] < row["high"]
    assert cells["classes", 16] == ["bcn-ws", "bn", "bcn", "gn-ws", "gn"]
    assert cells["classes", 1] == ["bcn-ws", "bcn", "gn-ws", "gn", "bn"]
    assert set(cells) == {("classes", 16), ("classes", 1), ("masks", 16), ("masks", 1)}


def test_the_course_of_a_run_goes_from_its_first_weights_to_its_last(result: MicroBatchResult) -> None:
    rows = [row for row in result.rows("course") if (row["variant"], row["seed"]) == ("gn.b16", 2)]
    assert [row["step"] for row in rows] == list(STEPS)
    assert [row["progress"] for row in rows] == [0, 0.5, 1]
    assert rows[0]["gradient_lipschitz"] is None, "there is no walk"
    assert rows[1]["images"] == 2 * 16


def test_a_run_that_failed_says_so_in_every_table(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = made(tmp_path_factory.mktemp("experiment"))
    runs = tuple(
        replace(done, run=None, measurement=None, skipped="the loss is nan") if done.variant == "gn.b16" else done
        for done in whole.runs
    )
    broken = replace(whole, runs=runs)
    methods = [row for row in broken.rows("methods") if row["variant"] == "gn.b16"]
    assert [(row["place"], row["skipped"]) for row in methods] == [(None, "none of its runs could be finished")]
    assert {row["skipped"] for row in broken.rows("course") if row["variant"] == "gn.b16"} == {"the loss is nan"}
    assert broken.plates()


def test_learning_rates_have_scores_and_no_course(tmp_path_factory: pytest.TempPathFactory) -> None:
    tried = made(tmp_path_factory.mktemp("rates"), quick_rates())
    rows = tried.rows("methods")
    assert {row["batch"] for row in rows} == {16}
    assert {row["method"] for row in rows} <= set(ALL)
    assert [row["learning_rate"] for row in rows if row["method"] == "gn" and row["task"] == "classes"] != []
    assert tried.plates()
