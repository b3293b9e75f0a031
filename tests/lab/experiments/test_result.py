from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ttest_rel

from tests.lab.experiments.experiments_for_tests import experiment, made_up_run
from weightatlas.lab.experiments.matrix import run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.result import ExperimentResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    made = experiment("baseline", "weak", "none", "broken")
    return run_experiment(made, tmp_path_factory.mktemp("experiment"), jobs=1, runner=made_up_run)


@pytest.mark.parametrize("table", ["runs", "variants", "effects"])
def test_every_row_has_the_columns_of_its_table_and_no_nan(result: ExperimentResult, table: str) -> None:
    rows = result.rows(table)
    assert rows
    for row in rows:
        assert tuple(row) == result.columns(table)
        json.dumps(row, allow_nan=False)


def test_a_run_has_its_figures_and_what_was_measured(result: ExperimentResult) -> None:
    row = result.rows()[1]
    assert row["variant"] == "weak"
    assert row["score"] == pytest.approx(0.102)
    assert (row["steps"], row["minutes"], row["parameters"], row["kind"]) == (4, 1.0, 10, "made up")
    assert row["test_accuracy"] is None


def test_a_variant_has_means_over_its_seeds(result: ExperimentResult) -> None:
    rows = {row["variant"]: row for row in result.rows("variants")}
    assert rows["baseline"]["score"] == pytest.approx(0.3 + 0.002 * 14 / 3)
    assert rows["baseline"]["score_sd"] == pytest.approx(0.002 * np.std([1, 4, 9], ddof=1))
    assert rows["baseline"]["seeds"] == 3
    assert rows["broken"]["skipped"] == "none of its runs could be finished"


def test_effects_are_judged_beside_what_the_article_says(result: ExperimentResult) -> None:
    rows = [row for row in result.rows("effects") if row["expected"] is not None]
    told = [(row["variant"], row["expected"], row["article"], row["verdict"]) for row in rows]
    assert told == [
        ("baseline", "present", "bands", "agrees"),
        ("weak", "present", "persisted", "agrees"),
        ("weak", "under half", "", "agrees"),
        ("none", "present", "persisted", "disagrees"),
    ]
    weak = rows[1]
    assert weak["kept"] == pytest.approx(1 - 0.2 / (0.3 + 0.002 * 14 / 3))
    assert weak["effect"] == pytest.approx(-0.2)
    assert rows[0]["effect"] is None
    assert rows[0]["value_low"] < rows[0]["value"] < rows[0]["value_high"]


def test_what_has_no_pairs_is_skipped_and_says_so(result: ExperimentResult) -> None:
    rows = [row for row in result.rows("effects") if row["variant"] == "broken"]
    assert rows
    assert all(row["skipped"] and row["effect"] is None and row["verdict"] is None for row in rows)


def test_p_is_the_paired_test_and_q_is_corrected_over_all_differences(tmp_path: Path) -> None:
    made = run_experiment(experiment(), tmp_path, jobs=1, runner=made_up_run)
    rows = {(row["variant"], row["measure"]): row for row in made.rows("effects")}
    baseline, none = (list(made.values(name, "score").values()) for name in ("baseline", "none"))
    assert rows["none", "score"]["p_value"] == pytest.approx(ttest_rel(none, baseline).pvalue)
    p_values = [rows[name, key]["p_value"] for name in ("weak", "none") for key in ("score", "train_accuracy")]
    q_values = [rows[name, key]["q_value"] for name in ("weak", "none") for key in ("score", "train_accuracy")]
    assert q_values == pytest.approx(false_discovery_control(p_values))


def test_it_is_saved_with_its_arrays(result: ExperimentResult, tmp_path: Path) -> None:
    rows = json.loads(result.save(tmp_path / "effects.json", table="effects").read_text())
    assert rows[0]["source"] == "made-up (small)"
    with np.load(result.save(tmp_path / "runs.npz")) as arrays:
        assert arrays["weak/seed-2/slide"] == pytest.approx(0.108)
        assert arrays["score"].shape == (12,)
