from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.experiments import experiments_for_tests as made_up
from weightatlas.cli import application
from weightatlas.lab import experiments
from weightatlas.lab.experiments.banding_result import BandingExperimentResult
from weightatlas.lab.experiments.branch_result import BranchExperimentResult
from weightatlas.lab.experiments.change_result import ChangeExperimentResult
from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Configuration, Run
    from weightatlas.lab.experiments import Experiment, ExperimentResult


def made_up_run(configuration: Configuration, folder: Path, **_: object) -> Run:
    return made_up.made_up_run(configuration, folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put made-up runs in the place of training; gives what the experiment was opened and run with."""
    seen: dict[str, Any] = {}
    run_experiment = experiments.run_experiment

    def opened(name: str, **more: Any) -> Experiment:  # noqa: ANN401 - handed on
        seen.update(more, name=name)
        return made_up.experiment(*(more["variants"] or ()), seeds=more["seeds"] or (1, 2))

    def ran(experiment: Experiment, folder: Path, *, runner: partial[Run], **more: Any) -> ExperimentResult:  # noqa: ANN401
        seen.update(more, **runner.keywords)
        return run_experiment(experiment, folder, runner=partial(made_up_run, **runner.keywords), **more)

    monkeypatch.setattr(experiments, "open_experiment", opened)
    monkeypatch.setattr(experiments, "run_experiment", ran)
    return seen


def run(folder: Path, *more: str) -> int:
    return application.run(["experiment", "made-up", "--folder", str(folder), "--quiet", *more])


@pytest.mark.parametrize("table", ["runs", "variants", "effects"])
def test_every_table_prints_and_the_page_is_written(
    tmp_path: Path, asked: dict[str, Any], table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--jobs", "1", "--table", table, "--format", "json", "--seeds", "3", "4") == 0
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert rows
    assert len({tuple(row) for row in rows}) == 1
    assert list(rows[0])[-2:] == ["source", "skipped"]
    assert printed.err == f"weightatlas: the atlas is {tmp_path / 'atlas.html'}\n"
    assert (tmp_path / "atlas.html").read_text().lower().startswith("<!doctype html>")
    assert asked["seeds"] == (3, 4)


def test_a_run_that_fails_is_a_row_and_a_line_and_the_exit_code(
    tmp_path: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "elsewhere.html"
    given = ["--variants", "baseline", "broken", "--seeds", "1", "--jobs", "2", "--atlas", str(page)]
    assert run(tmp_path / "runs", *given, "--format", "json") == 1
    printed = capsys.readouterr()
    assert [row["skipped"] for row in json.loads(printed.out)] == [None, "the loss is nan at step 3"]
    assert printed.err.splitlines() == [
        "weightatlas: broken, seed 1: the loss is nan at step 3",
        f"weightatlas: the atlas is {page}",
    ]
    assert asked["jobs"] == 2


def test_where_nothing_was_finished_no_page_is_written(
    tmp_path: Path, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--variants", "broken", "--seeds", "1", "--jobs", "1") == 1
    assert "the loss is nan" in capsys.readouterr().err
    assert not (tmp_path / "atlas.html").exists()
    assert asked["variants"] == ("broken",)


def test_processes_that_train_together_take_the_runs_one_after_another(tmp_path: Path, asked: dict[str, Any]) -> None:
    assert run(tmp_path, "--devices", "2", "--accelerator", "cpu", "--jobs", "3") == 0
    assert asked["jobs"] == 1
    assert (asked["devices"].devices, asked["devices"].accelerator) == (2, "cpu")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--seeds", "-1"], "--seeds"),
        (["--jobs", "0"], "--jobs"),
        (["--steps", "1"], "--steps"),
        (["--limit", "0"], "--limit"),
        (["--backend", "threading"], "--backend"),
        (["--atlas", "page.txt"], "end page.txt in .html"),
        (["--output", "rows.docx"], "rows.docx"),
        (["--nodes", "2"], "torchrun --nnodes 2"),
    ],
)
def test_wrong_usage_is_refused_before_any_run(
    tmp_path: Path, wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "runs", *wrong) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("asked")
def test_a_table_that_another_experiment_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "runs", "--table", "profiles") == 2
    assert "made-up has no table 'profiles'; there is runs, variants, effects" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "table", "its"),
    [
        ("weight-banding", "thirds", "runs, variants, effects, profiles"),
        ("weight-change", "profiles", "runs, variants, effects, accuracies, layers, thirds"),
    ],
)
def test_each_experiment_names_its_own_tables(
    tmp_path: Path, name: str, table: str, its: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert application.run(["experiment", name, "--folder", str(tmp_path / "runs"), "--table", table]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{name} has no table {table!r}; there is {its}")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("table", ["runs", "variants", "effects", "accuracies", "layers", "thirds"])
def test_a_terminal_shows_what_the_experiment_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.lab.experiments.changes_for_tests import made

    monkeypatch.setattr(experiments, "run_experiment", lambda chosen, folder, **_: made(folder, chosen))
    given = ["--folder", str(tmp_path), "--quiet", "--seeds", "1", "2", "--variants", "scenes-order"]
    assert application.run(["experiment", "weight-change", *given, "--table", table]) == 0
    printed = capsys.readouterr().out
    shown = experiments.EXPERIMENTS["weight-change"]["quick"]().result.terminal[table]
    header = printed.splitlines()[0]
    assert all(word in header for word in " ".join(label for _, label in shown).split())
    assert "scenes-order" in printed


def test_the_help_names_every_table_of_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["experiment", "--help"]) == 0
    told = capsys.readouterr().out
    for name, presets in experiments.EXPERIMENTS.items():
        assert name in told
        assert all(preset in told for preset in presets)
    for kind in (
        BandingExperimentResult,
        BranchExperimentResult,
        ChangeExperimentResult,
        MicroBatchResult,
        ModeConnectivityResult,
    ):
        assert all(table in told for table in kind.tables)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("weight-bandin", (), "did you mean weight-banding?"),
        ("weight-banding", ("--preset", "quik"), "did you mean quick?"),
        ("weight-banding", ("--variants", "no-poolin"), "did you mean no-pooling?"),
        ("weight-banding", ("--preset", "cifar10"), "give them: --data"),
        ("weight-banding", ("--seeds", "1", "1"), "give seeds that differ"),
        ("weight-change", ("--preset", "cifar10-smal"), "did you mean cifar10-small?"),
        ("weight-change", ("--variants", "scenes-hrad"), "did you mean scenes-hard?"),
        ("weight-change", ("--preset", "cifar"), "give them: --data cifar10:PATH,cifar100:PATH"),
        ("weight-change", ("--preset", "paper", "--data", "cifar10:a,cifar100:b"), "svhn is not among the data"),
        ("weight-change", ("--data", "cifar10:a"), "drop --data, or give --preset cifar10-small"),
        ("mode-connectivity", ("--preset", "cifar10"), "give them: --data cifar10:PATH"),
    ],
)
def test_what_there_is_not_is_named_with_what_there_is(
    tmp_path: Path, name: str, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert application.run(["experiment", name, "--folder", str(tmp_path / "runs"), *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "runs").exists()


def test_the_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom weightatlas.cli import application\napplication.run(['experiment', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0
    assert "Runs at once, each in a process of its own" in done.stdout
