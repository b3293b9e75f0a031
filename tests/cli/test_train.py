from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightatlas import open_trajectory
from weightatlas.cli import application
from weightatlas.lab import read_configuration
from weightatlas.lab.configuration_file import configuration_from

DOCUMENTED = Path(__file__).parents[2] / "docs" / "cli.md"
SMALL = "weightatlas:simplified?groups=small&width=0.125&input_size=24&classes=4"

Train = Callable[..., int]


@pytest.fixture
def points(tmp_path: Path) -> str:
    targets = np.arange(48) % 3
    inputs = (np.eye(3)[targets] * 3 + np.random.default_rng(0).normal(size=(48, 3))).astype(np.float32)
    np.savez(tmp_path / "points.npz", inputs=inputs, targets=targets, test_inputs=inputs, test_targets=targets)
    return str(tmp_path / "points.npz")


@pytest.fixture
def train(tmp_path: Path, points: str) -> Train:
    """Train two steps of a network for points on the CPU, as further arguments say."""

    def trained(*more: str, steps: str | None = "2") -> int:
        given = ["train", "--folder", str(tmp_path / "run"), "--batch-size", "8", *more]
        given += [] if "--data" in more else ["--data", points]
        given += [] if "--model" in more else ["--model", "tests.lab.small_runs:perceptron"]
        given += [] if steps is None else ["--steps", steps]
        return application.run([*given, "--accelerator", "cpu", "--quiet"])

    return trained


def kept(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    configuration: dict[str, Any] = manifest["configuration"]
    return configuration


def test_a_run_is_one_row_of_the_documented_fields(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--format", "json", "--seed", "3") == 0
    (row,) = json.loads(capsys.readouterr().out)
    section = DOCUMENTED.read_text().split("\n### train\n")[1].split("\n### ")[0]
    fields = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert list(row) == [name.strip("` ") for cell in fields for name in cell.split(",")]
    assert (row["seed"], row["steps"], row["interventions"], row["reused"], row["skipped"]) == (3, 2, "", False, None)
    assert Path(row["checkpoint"]).is_file()
    assert train("--format", "jsonl", "--seed", "3") == 0
    assert json.loads(capsys.readouterr().out) == row | {"reused": True}


def test_a_file_and_flags_give_the_same_configuration(tmp_path: Path, train: Train, points: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        f'model = "tests.lab.small_runs:perceptron"\ndata = {json.dumps(points)}\nkeep = "log"\nseed = 4\n'
        "[recipe]\nsteps = 2\nbatch_size = 8\nmilestones = [0.25, 0.5]\nbatch_schedule = [[1, 16], [2, 32]]\n"
        "[augmentation]\nshift = 0\n"
    )
    read = read_configuration(file)
    assert train("--config", str(file)) == 0
    assert configuration_from(kept(tmp_path)) == read
    shutil.rmtree(tmp_path / "run")
    flags = ["--keep", "log", "--seed", "4", "--milestones", "0.25", "0.5", "--batch-schedule", "1", "16", "2", "32"]
    assert train(*flags) == 0
    assert configuration_from(kept(tmp_path)) == read


def test_flags_win_over_the_file(tmp_path: Path, train: Train) -> None:
    file = tmp_path / "run.toml"
    file.write_text('interventions = ["x-pooling", "coordconv"]\nseed = 4\n[recipe]\nepochs = 7\nthreads = 2\n')
    scenes = ["--model", SMALL, "--data", "scenes?limit=8"]
    assert train("--config", str(file), *scenes, "--head", "no-pooling", "--seed", "5") == 0
    configuration = kept(tmp_path)
    assert configuration["interventions"] == ["no-pooling"]  # both of the file's would have come after it
    assert (configuration["seed"], configuration["recipe"]["steps"], configuration["recipe"]["epochs"]) == (5, 2, None)
    assert configuration["recipe"]["threads"] == 2


def test_a_fork_is_two_flags_or_a_table(tmp_path: Path, train: Train) -> None:
    file = tmp_path / "run.toml"
    for flags, text, expected in (
        (("--fork", "1"), "[fork]\nstep = 1", {"step": 1, "seed": 1}),
        (("--fork", "0", "--fork-seed", "3"), "[fork]\nstep = 0\nseed = 3", {"step": 0, "seed": 3}),
        (("--fork", "weights"), "[fork]\nseed = 1", {"step": None, "seed": 1}),
    ):
        file.write_text(text)
        for given in (flags, ("--config", str(file))):
            assert train(*given) == 0
            assert kept(tmp_path)["fork"] == expected
            shutil.rmtree(tmp_path / "run")
    assert train("--config", str(file), "--fork", "1") == 0  # the file's seed goes with its step
    assert kept(tmp_path)["fork"] == {"step": 1, "seed": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe = 3", "recipe is no table; write its fields under [recipe]"),
        ("[recipe]\nflip = true", "there is no field recipe.flip; it stands under [augmentation]"),
        ("[recipe]\nlearning_rat = 1", "there is no field recipe.learning_rat; did you mean recipe.learning_rate?"),
        ("[recipe]\nlearning_rate = '1'", "recipe.learning_rate must be a number, not '1'"),
        ("[recipe]\nsteps = 2.5", "recipe.steps must be a whole number, not 2.5"),
        ("[augmentation]\nrotate = 90", 'augmentation.rotate must be text in quotes, such as "90", not 90'),
        ("bogus = 1", "there is no field bogus"),
        ("x = = 1", "no TOML"),
    ],
)
def test_what_a_file_gets_wrong_is_one_line(
    tmp_path: Path, train: Train, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert train("--config", str(file)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"weightatlas: {file}: {said}")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--learning-rate", "nan"],
        ["--learning-rate", "-1"],
        ["--epochs", "1"],
        ["--optimizer", "lion"],
        ["--milestones", "0.5", "0.2"],
        ["--scale", "0.5"],
        ["--rotate", "45"],
        ["--seed", "-1"],
        ["--fork", "-1"],
        ["--fork", "bogus"],
        ["--devices", "0"],
        ["--output", "run.html"],
        ["--bogus"],
    ],
)
def test_wrong_usage_is_refused_before_any_work(
    tmp_path: Path, train: Train, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*wrong) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_several_machines_need_a_launcher(
    monkeypatch: pytest.MonkeyPatch, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert train("--nodes", "2") == 2
    assert "torchrun --nnodes 2" in capsys.readouterr().err


def test_without_a_length_a_run_has_four_hundred_updates_whatever_else_is_given(tmp_path: Path, train: Train) -> None:
    assert train("--learning-rate", "0.01", steps=None) == 0
    assert kept(tmp_path)["recipe"]["steps"] == 400


def test_what_goes_wrong_in_a_run_is_one_line(tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--model", SMALL) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot take inputs of (3,), as " in line
    assert train("--model", "tests.lab.small_runs:perceptron", "--learning-rate", "1e30", "--optimizer", "sgd") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "lower the learning rate" in line
    shutil.rmtree(tmp_path / "run")
    assert train() == 0
    assert train("--seed", "1") == 1
    assert "it holds another run" in capsys.readouterr().err


def test_a_run_is_a_trajectory_and_nothing_is_said_of_the_optimiser(tmp_path: Path, train: Train) -> None:
    assert train("--keep", "log") == 0
    trajectory = open_trajectory(tmp_path / "run")
    assert trajectory.steps == (0, 1, 2)
    assert trajectory.skipped == ()


def test_the_help_names_every_option_in_panels_and_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert application.run(["train", "--help"]) == 0
    text = capsys.readouterr().out
    panels = [
        "What is trained",
        "How it is trained",
        "What is done to images",
        "What is kept",
        "Where",
        "What comes out",
    ]
    assert [text.index(panel) for panel in panels] == sorted(text.index(panel) for panel in panels)
    words = " ".join(text.replace("│", " ").split())
    assert "[default: 1/3 2/3 8/9]" in words
    assert "Mirror left-right with probability 1/2." in words
    for noise in ("()", "[default: False]", "None]", "0.333", "--empty-"):
        assert noise not in words
