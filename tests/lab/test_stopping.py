"""Runs that end before their last update: the rule, and what is left of the run."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.lab.small_runs import CPU, on_points, perceptron, points
from weightatlas import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation.scoring import Score
from weightatlas.lab import Recipe, RunFolder, run, train
from weightatlas.lab.configuration_file import configuration_from
from weightatlas.lab.stopping import StopRule

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Configuration

LONG = Recipe(steps=400, batch_size=16, learning_rate=0.03, schedule="constant")
RULE = "test_loss<0.2"


def configured(folder: Path, **more: Any) -> Configuration:  # noqa: ANN401 - handed on
    settings: dict[str, Any] = {"recipe": LONG, "stop": RULE, "stop_every": 4, "stop_held": 2, "save_every": 5} | more
    return on_points(folder, **settings)


def looks_of(folder: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["test_loss"]) for row in RunFolder(folder).rows() if "test_loss" in row]


@pytest.mark.parametrize(
    ("text", "score", "above", "border"),
    [
        ("test_accuracy>0.999", "accuracy", True, 0.999),
        (" test_loss < .1 ", "loss", False, 0.1),
        ("test_top5>1", "top5", True, 1.0),
    ],
)
def test_a_rule_is_read_from_text(text: str, score: str, above: bool, border: float) -> None:
    assert StopRule.parsed(text, every=7, held=3) == StopRule(score, above, border, 7, 3)


@pytest.mark.parametrize(
    "text", ["always", "accuracy>0.9", "test_accuracy=1", "test_accuracy>high", "test_loss<0.1 or so"]
)
def test_what_is_no_rule_is_refused_when_it_is_configured(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop must be a rule such as"):
        configured(tmp_path, stop=text)
    with pytest.raises(SourceError, match="stop must be a rule such as"):
        configuration_from({"model": "a", "data": "b", "stop": text})


def test_looks_count_in_a_row_and_the_border_itself_does_not_do() -> None:
    rule = StopRule.parsed("test_accuracy>0.9")
    count = 0
    counts = [count := rule.count(count, Score(1.0, value, 1.0, 10)) for value in (0.95, 0.91, 0.9, 0.95)]
    assert counts == [1, 2, 0, 1]


def test_a_run_stops_at_the_first_look_that_makes_enough_in_a_row(tmp_path: Path) -> None:
    done = run(configured(tmp_path), tmp_path / "run", devices=CPU)
    looks = looks_of(tmp_path / "run")
    assert [step for step, _ in looks] == list(range(4, done.steps + 1, 4))
    passed = [loss < 0.2 for _, loss in looks]
    assert passed[-2:] == [True, True]
    assert not any(first and second for first, second in pairwise(passed[:-1]))
    assert done.steps < LONG.steps  # type: ignore[operator]
    assert done.test_loss == looks[-1][1]
    assert done.checkpoint.is_file()
    assert done.checkpoint.name == f"step-{done.steps:08d}.safetensors"


def test_the_updates_before_the_stop_are_those_of_a_run_that_does_not_stop(tmp_path: Path) -> None:
    stopped = run(configured(tmp_path), tmp_path / "stopped", devices=CPU)
    whole = configured(tmp_path, stop=None, every=stopped.steps)
    run(whole, tmp_path / "whole", devices=CPU)
    one, other = (
        dict(open_checkpoint(stopped.checkpoint)),
        dict(open_checkpoint(RunFolder(tmp_path / "whole").checkpoint(stopped.steps))),
    )
    assert all(np.array_equal(one[name].numpy(), other[name].numpy()) for name in other)


def test_a_run_that_never_gets_there_ends_with_its_plan(tmp_path: Path) -> None:
    done = run(configured(tmp_path, stop="test_loss<0", recipe=replace(LONG, steps=10)), tmp_path / "run", devices=CPU)
    assert done.steps == 10
    assert [step for step, _ in looks_of(tmp_path / "run")] == [4, 8, 10]


def test_a_run_that_was_killed_after_its_last_save_knows_that_it_had_stopped(tmp_path: Path) -> None:
    done = run(configured(tmp_path), tmp_path / "run", devices=CPU)
    (tmp_path / "run" / "result.json").unlink()
    again = run(configured(tmp_path), tmp_path / "run", devices=CPU)
    assert (again.steps, again.test_loss, again.checkpoint) == (done.steps, done.test_loss, done.checkpoint)


def test_a_run_that_goes_on_counts_the_looks_before(tmp_path: Path) -> None:
    """Taken back to the checkpoint between the two looks that stop it."""
    whole = run(configured(tmp_path, every=1), tmp_path / "whole", devices=CPU)
    middle = whole.steps - 2
    part = tmp_path / "part"

    def until_the_middle(_row: object, step: int) -> None:
        if step >= middle:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(configured(tmp_path, save_every=1), part, devices=CPU, loggers=(until_the_middle,))
    assert RunFolder(part).result() is None
    again = run(configured(tmp_path, save_every=1), part, devices=CPU)
    assert again.steps == whole.steps
    assert json.dumps(again.test_loss) == json.dumps(whole.test_loss)
    assert looks_of(part) == [item for item in looks_of(tmp_path / "whole") if item[0] % 4 == 0 < item[0]]


def test_without_anything_held_out_there_is_nothing_to_stop_by(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing is; give --held-out"):
        run(configured(tmp_path, test=False), tmp_path / "run", devices=CPU)


def test_losses_end_with_the_run() -> None:
    done = train(perceptron(), points(), LONG, stop=StopRule.parsed("test_loss<0.3", every=10), held_out=points(seed=1))
    assert len(done.losses) == done.plan.steps < 400
    assert np.isfinite(done.losses).all()
    assert done.score is not None
    assert done.score.loss < 0.3


def test_configurations_without_a_rule_are_what_they_were(tmp_path: Path) -> None:
    assert not {"stop", "stop_every", "stop_held"} & set(on_points(tmp_path).to_dict())
    with_rule = configured(tmp_path)
    assert with_rule.identity != replace(with_rule, stop_every=5).identity
    assert configuration_from(with_rule.to_dict()) == with_rule
