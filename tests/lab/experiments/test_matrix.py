from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.experiments_for_tests import experiment, made_up_run, with_seeds
from weightatlas.errors import SourceError
from weightatlas.lab.experiments.matrix import cells_of, run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Configuration, Run
    from weightatlas.parallel import Backend


def processes(folder: Path) -> set[int]:
    return {json.loads(path.read_text())["process"] for path in folder.glob("*/seed-*/weights.json")}


def test_all_variants_of_a_seed_come_before_the_next_seed(tmp_path: Path) -> None:
    cells = cells_of(experiment(seeds=(5, 3)), tmp_path)
    assert [(cell.variant, cell.configuration.seed) for cell in cells] == [
        ("baseline", 5),
        ("weak", 5),
        ("none", 5),
        ("baseline", 3),
        ("weak", 3),
        ("none", 3),
    ]
    assert cells[1].folder == tmp_path / "weak" / "seed-5"


def test_a_run_that_fails_is_a_row_with_the_reason_and_loses_no_other(tmp_path: Path) -> None:
    result = run_experiment(experiment("baseline", "broken", "weak"), tmp_path, jobs=1, runner=made_up_run)
    rows = result.rows("runs")
    assert [(row["variant"], row["skipped"]) for row in rows[:3]] == [
        ("baseline", None),
        ("broken", "the loss is nan at step 3"),
        ("weak", None),
    ]
    assert rows[1]["score"] is None
    assert rows[1]["minutes"] is None


def test_finished_runs_are_read_back_and_seeds_may_be_added(tmp_path: Path) -> None:
    first = run_experiment(experiment(seeds=(1,)), tmp_path, jobs=1, runner=made_up_run)
    second = run_experiment(with_seeds(experiment("baseline", "weak"), 1, 2), tmp_path, jobs=1, runner=made_up_run)
    assert [done.run.reused for done in first.runs if done.run] == [False, False, False]
    assert [(done.seed, done.run.reused) for done in second.runs if done.run] == [
        (1, True),
        (1, True),
        (2, False),
        (2, False),
    ]


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_side_by_side_the_answers_are_the_same(backend: Backend, tmp_path: Path) -> None:
    made = experiment("baseline", "broken", "weak", seeds=(1, 2))
    one = run_experiment(made, tmp_path / "one", jobs=1, runner=made_up_run)
    two = run_experiment(made, tmp_path / "two", jobs=2, backend=backend, runner=made_up_run)
    for table in ("variants", "effects"):
        assert two.rows(table) == one.rows(table)
    assert processes(tmp_path / "one") == {os.getpid()}
    assert os.getpid() not in processes(tmp_path / "two")


def test_a_process_that_is_killed_costs_its_own_run_only(tmp_path: Path) -> None:
    made = experiment("baseline", "killer", "weak", seeds=(1,))
    result = run_experiment(made, tmp_path, jobs=2, runner=made_up_run)
    skipped = {(done.variant, done.seed): done.skipped for done in result.runs}
    assert [key for key, reason in skipped.items() if reason] == [("killer", 1)]
    assert "its process died" in str(skipped["killer", 1])


def test_progress_counts_the_updates_of_all_runs(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    run_experiment(
        experiment("baseline", "broken", seeds=(7,)),
        tmp_path,
        jobs=1,
        runner=made_up_run,
        progress=lambda done, total, label: told.append((done, total, label)),
    )
    assert told[-1] == (8, 8, "broken, seed 7")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    made = experiment(seeds=(1,))
    run_experiment(made, tmp_path / "runs", jobs=1, runner=made_up_run)
    with pytest.raises(SourceError, match=r"holds the experiment made-up \(small\)"):
        run_experiment(replace(made, preset="large"), tmp_path / "runs", jobs=1, runner=made_up_run)
    longer = replace(made.variants[1], configuration=replace(made.variants[1].configuration, data="scenes?label=set"))
    with pytest.raises(SourceError, match="holds weak of this experiment with another configuration"):
        run_experiment(
            replace(made, variants=(made.variants[0], longer)), tmp_path / "runs", jobs=1, runner=made_up_run
        )
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-a-friend.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(SourceError, match="no experiment"):
        run_experiment(made, tmp_path / "letters", jobs=1, runner=made_up_run)


def test_a_manifest_that_cannot_be_read_can_be_removed(tmp_path: Path) -> None:
    made = experiment(seeds=(1,))
    run_experiment(made, tmp_path, jobs=1, runner=made_up_run)
    for text in ("{", "[]"):
        (tmp_path / "experiment.json").write_text(text, encoding="utf-8")
        with pytest.raises(SourceError, match="remove it: finished runs are kept"):
            run_experiment(made, tmp_path, jobs=1, runner=made_up_run)
    (tmp_path / "experiment.json").unlink()
    again = run_experiment(made, tmp_path, jobs=1, runner=made_up_run)
    assert all(done.run is not None and done.run.reused for done in again.runs)


def test_threads_are_refused_for_several_jobs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="threads share a process"):
        run_experiment(experiment(), tmp_path, jobs=2, backend="threading", runner=made_up_run)


def test_an_unexpected_error_names_its_type(tmp_path: Path) -> None:
    def mistaken(configuration: Configuration, folder: Path) -> Run:
        message = f"{configuration.model}\nin {folder.name}"
        raise TypeError(message)

    result = run_experiment(experiment("baseline", seeds=(1,)), tmp_path, jobs=1, runner=mistaken)
    assert result.runs[0].skipped == "TypeError: made-up:baseline in seed-1"
