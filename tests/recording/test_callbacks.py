from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

from tests.recording.frameworks import Callback, Trainer, stand_in, trained
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.recording.callbacks import LIGHTNING, lightning_callback_of, transformers_callback_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., "Diary"]


class Diary:
    """Writes down what a recorder is told."""

    def __init__(self, model: nn.Module, path: Path, *, at: int, log: Any = None, every: int = 1) -> None:  # noqa: ANN401
        self.said: list[object] = [(type(model).__name__, path.name, at, every)]
        self.log = log

    def step(self, step: int) -> None:
        self.said.append(step)
        if self.log is not None:
            self.log({"size": float(step)}, step)

    def close(self) -> None:
        self.said.append("closed")


@pytest.fixture
def diaries(monkeypatch: pytest.MonkeyPatch) -> tuple[Make, list[Diary]]:
    """What makes recorders, and those that it has made."""
    stand_in(LIGHTNING[0], monkeypatch)
    made: list[Diary] = []

    def make(*arguments: Any, **options: Any) -> Diary:  # noqa: ANN401
        made.append(Diary(*arguments, **options))
        return made[-1]

    return make, made


def nothing(model: nn.Module) -> None:
    """An update that leaves the model as it is."""


@pytest.mark.parametrize("package", LIGHTNING)
def test_either_of_lightnings_packages_gives_the_class(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(package, monkeypatch)
    for asked in (None, package):
        callback = lightning_callback_of(Diary, "Weather", "c.jsonl", {}, package=asked)
        assert isinstance(callback, Callback)
        assert type(callback).__name__ == "Weather"
    (other,) = set(LIGHTNING) - {package}
    with pytest.raises(MissingDependencyError):
        lightning_callback_of(Diary, "Weather", "c.jsonl", {}, package=other)


def test_lightning_tells_of_its_steps_from_where_it_stands(diaries: tuple[Make, list[Diary]]) -> None:
    make, made = diaries
    callback = lightning_callback_of(make, "Weather", "runs/c.jsonl", {"every": 2})
    Trainer(callback, update=nothing, accumulate=2, global_step=7).fit(nn.ReLU(), 4)
    Trainer(callback, update=nothing).fit(nn.ReLU(), 1, interrupt=True)
    assert [diary.said for diary in made] == [
        [("ReLU", "c.jsonl", 7, 2), 7, 8, 8, 9, "closed"],
        [("ReLU", "c.jsonl", 0, 2), 1, "closed"],
    ]


@pytest.mark.parametrize("own", [True, False])
def test_lightnings_loggers_take_records_where_they_are_asked_to(diaries: tuple[Make, list[Diary]], own: bool) -> None:
    told: list[int] = []
    log = True if own else lambda _, step: told.append(step)
    trainer = Trainer(lightning_callback_of(diaries[0], "Weather", "c.jsonl", {"log": log}), update=nothing)
    trainer.fit(nn.ReLU(), 2)
    assert trainer.loggers[0].told == ([({"size": 1.0}, 1), ({"size": 2.0}, 2)] if own else [])
    assert told == ([] if own else [1, 2])


def test_a_training_that_begins_anew_ends_what_the_last_one_left_open(diaries: tuple[Make, list[Diary]]) -> None:
    make, made = diaries
    callback = lightning_callback_of(make, "Weather", "c.jsonl", {})
    trainer = Trainer(callback, update=nothing)
    callback.on_train_batch_end(trainer, nn.ReLU(), None, None, 0)
    assert made == [], "nothing has begun"
    for _ in range(2):
        callback.on_train_start(trainer, nn.ReLU())
    assert [diary.said[1:] for diary in made] == [["closed"], []]


def test_transformers_tells_of_its_steps_from_where_it_stands(diaries: tuple[Make, list[Diary]]) -> None:
    make, made = diaries
    trained(transformers_callback_of(make, "Weather", "c.jsonl", {}), nn.ReLU(), nothing, 4, first=3)
    assert [diary.said for diary in made] == [[("ReLU", "c.jsonl", 2, 1), 3, 4, "closed"]]


def test_callbacks_of_two_rooms_stand_beside_each_other() -> None:
    transformers = pytest.importorskip("transformers")
    kinds = {type(transformers_callback_of(Diary, name, "c.jsonl", {})) for name in ("Weather", "Tides")}
    assert {kind.__name__ for kind in kinds} == {"Weather", "Tides"}
    assert all(issubclass(kind, transformers.TrainerCallback) for kind in kinds)


def test_a_trainer_without_a_model_is_said() -> None:
    with pytest.raises(SourceError, match="Weather: the trainer hands over no model"):
        trained(transformers_callback_of(Diary, "Weather", "c.jsonl", {}), None, nothing, 1)


def test_a_framework_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "transformers", *LIGHTNING):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="a Lightning callback: lightning is not installed"):
        lightning_callback_of(Diary, "Weather", "c.jsonl", {})
    with pytest.raises(MissingDependencyError, match="transformers is not installed"):
        transformers_callback_of(Diary, "Weather", "c.jsonl", {})
    with pytest.raises(ValueError, match="package must be"):
        lightning_callback_of(Diary, "Weather", "c.jsonl", {}, package="keras")
