from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.experiments_for_tests import experiment, made_up_run
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.experiment import Experiment


def together(partner: Run, own: Run) -> Measurement:
    """The score of a pair is that of both, the partner's weighing a hundred times as much."""
    scores = [float(json.loads(run.checkpoint.read_text(encoding="utf-8"))["score"]) for run in (partner, own)]
    if partner.configuration.seed == 9:
        message = "no such pair"
        raise ValueError(message)
    return Measurement({"score": 100 * scores[0] + scores[1]})


def paired(*names: str, partner: str, seeds: tuple[int, ...] = (1, 2)) -> Experiment:
    """An experiment whose last variant makes pairs with another."""
    made = experiment(*names, seeds=seeds)
    *others, last = made.variants
    return replace(made, variants=(*others, replace(last, partner=partner)), measure_pair=together)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_pair_s_figures_come_on_top_of_those_of_its_second_run(jobs: int, tmp_path: Path) -> None:
    alone = run_experiment(experiment("baseline", "weak", seeds=(1, 2)), tmp_path / "alone", jobs=1, runner=made_up_run)
    result = run_experiment(
        paired("baseline", "weak", partner="baseline"), tmp_path / "pairs", jobs=jobs, runner=made_up_run
    )
    before, after = (one.rows("runs") for one in (alone, result))
    assert [row["variant"] for row in after] == [row["variant"] for row in before]
    for old, new, baseline in zip(before, after, (before[0], before[0], before[2], before[2]), strict=True):
        expected = old["score"] if new["variant"] == "baseline" else 100 * baseline["score"] + old["score"]
        assert new["score"] == pytest.approx(expected)
        assert (new["kind"], new["q_value"]) == ("made up", 0.0)


def test_a_pair_without_its_partner_is_a_row_with_the_reason(tmp_path: Path) -> None:
    result = run_experiment(
        paired("baseline", "broken", "weak", partner="broken", seeds=(1,)), tmp_path, jobs=1, runner=made_up_run
    )
    assert [row["skipped"] for row in result.rows("runs")] == [
        None,
        "the loss is nan at step 3",
        "broken, with which it makes a pair, could not be finished: the loss is nan at step 3",
    ]
    assert result.rows("runs")[2]["minutes"] is None


def test_a_pair_whose_own_run_failed_keeps_that_reason(tmp_path: Path) -> None:
    result = run_experiment(
        paired("baseline", "broken", partner="baseline", seeds=(1,)), tmp_path, jobs=1, runner=made_up_run
    )
    assert [done.skipped for done in result.runs] == [None, "the loss is nan at step 3"]


def test_a_pair_that_cannot_be_measured_is_a_row_with_the_reason_and_loses_no_other(tmp_path: Path) -> None:
    result = run_experiment(
        paired("baseline", "weak", partner="baseline", seeds=(9, 2)), tmp_path, jobs=1, runner=made_up_run
    )
    assert [done.skipped for done in result.runs] == [None, "ValueError: no such pair", None, None]
    assert result.values("weak", "score").keys() == {2}


def test_progress_counts_the_pairs_after_the_updates(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    run_experiment(
        paired("baseline", "weak", partner="baseline"),
        tmp_path,
        jobs=1,
        runner=made_up_run,
        progress=lambda done, total, label: told.append((done, total, label)),
    )
    assert told[-2:] == [(1, 2, "weak with baseline, seed 1"), (2, 2, "weak with baseline, seed 2")]
    assert told[-3][:2] == (16, 16)


def test_partners_that_are_not_there_or_not_measured_are_refused() -> None:
    made = paired("baseline", "weak", partner="baseline")
    with pytest.raises(ValueError, match="weak makes a pair with 'baseline', and no pairs are measured"):
        replace(made, measure_pair=None)
    with pytest.raises(ValueError, match="'none', and does not stand before it"):
        paired("baseline", "weak", partner="none")


def test_chosen_variants_bring_their_partners() -> None:
    made = open_experiment("mode-connectivity", variants=["w0.5.fork.1-4"], seeds=(3,))
    assert [variant.name for variant in made.variants] == ["w0.5", "w0.5.twin", "w0.5.fork.1-4"]
