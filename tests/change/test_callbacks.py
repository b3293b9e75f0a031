"""Stand-ins call the hooks as the frameworks document them; where a framework is installed its own classes are used."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.change.trained import MOVES, network, update
from weightatlas.change.callbacks import LIGHTNING, lightning_callback, transformers_callback
from weightatlas.change.records import read_records
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from pathlib import Path


class Callback:
    """What Lightning's documentation says of its base class."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None: ...  # noqa: ANN401
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None: ...  # noqa: ANN401
    def on_train_end(self, trainer: Any, pl_module: Any) -> None: ...  # noqa: ANN401
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None: ...  # noqa: ANN401


class Logger:
    def __init__(self) -> None:
        self.told: list[tuple[dict[str, float], int]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.told.append((metrics, step))


class Trainer:
    """Trains as Lightning's does: a batch at a time, an update after every `accumulate`."""

    def __init__(self, callback: Any, *, accumulate: int = 1, global_step: int = 0) -> None:  # noqa: ANN401
        self.callback, self.accumulate, self.global_step = callback, accumulate, global_step
        self.loggers = [Logger()]

    def fit(self, model: Any, batches: int, *, interrupt: bool = False) -> None:  # noqa: ANN401
        self.callback.on_train_start(self, model)
        for batch in range(batches):
            if (batch + 1) % self.accumulate == 0:
                update(model)
                self.global_step += 1
            self.callback.on_train_batch_end(self, model, None, None, batch)
        if interrupt:
            self.callback.on_exception(self, model, KeyboardInterrupt())
        else:
            self.callback.on_train_end(self, model)


@pytest.fixture(params=LIGHTNING)
def lightning(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stand-in for one of Lightning's packages, and none for the other."""
    for name in LIGHTNING:
        monkeypatch.setitem(sys.modules, name, None)
    module: Any = ModuleType(request.param)
    module.Callback = Callback
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, request.param, module)
    return str(request.param)


def assert_recorded(path: Path, steps: tuple[int, ...], since: tuple[int, ...] | None = None) -> None:
    changes = read_records(path)
    assert changes.steps == steps
    assert changes.since == (tuple(step - 1 for step in steps) if since is None else since)
    for layer in changes.layers:
        assert layer.figures["ratio_l1"].tolist() == pytest.approx([MOVES[layer.layer]] * len(steps))


def test_lightning_records_every_optimizer_step(lightning: str, tmp_path: Path) -> None:
    callback = lightning_callback(tmp_path / "c.jsonl")
    assert isinstance(callback, Callback)
    assert lightning in LIGHTNING
    Trainer(callback).fit(network(), 3)
    assert_recorded(tmp_path / "c.jsonl", (1, 2, 3))


@pytest.mark.usefixtures("lightning")
def test_lightning_batches_without_an_optimizer_step_are_none(tmp_path: Path) -> None:
    Trainer(lightning_callback(tmp_path / "c.jsonl"), accumulate=3).fit(network(), 7)
    assert_recorded(tmp_path / "c.jsonl", (1, 2))


@pytest.mark.usefixtures("lightning")
def test_lightning_goes_on_where_a_checkpoint_was_loaded(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    Trainer(lightning_callback(path)).fit(network(), 5, interrupt=True)
    Trainer(lightning_callback(path), global_step=3).fit(network(), 4)
    assert_recorded(path, (1, 2, 3, 4, 5, 6, 7))


@pytest.mark.usefixtures("lightning")
def test_lightning_loggers_take_the_records(tmp_path: Path) -> None:
    trainer = Trainer(lightning_callback(tmp_path / "c.jsonl", log=True, every=2))
    trainer.fit(network(), 4)
    assert [(sorted(row), step) for row, step in trainer.loggers[0].told] == [
        (["change/0", "change/2", "change/4"], 2),
        (["change/0", "change/2", "change/4"], 4),
    ]


def test_lightning_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("lightning", *LIGHTNING):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="a Lightning callback: lightning is not installed"):
        lightning_callback(tmp_path / "c.jsonl")
    with pytest.raises(ValueError, match="package must be"):
        lightning_callback(tmp_path / "c.jsonl", package="keras")


def test_real_lightning_takes_it(tmp_path: Path) -> None:
    real = pytest.importorskip("lightning.pytorch")
    assert isinstance(lightning_callback(tmp_path / "c.jsonl"), real.Callback)


def trained(callback: Any, model: Any, last: int, first: int = 1) -> None:  # noqa: ANN401
    """Train as transformers' Trainer does, through its own handler of callbacks."""
    transformers = pytest.importorskip("transformers")
    from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

    arguments: Any = SimpleNamespace(
        logging_strategy="no", logging_first_step=False, eval_strategy="no", save_strategy="no", eval_delay=0
    )
    state, control = transformers.TrainerState(global_step=first - 1, max_steps=last), transformers.TrainerControl()
    handler = CallbackHandler(  # type: ignore[no-untyped-call]
        [DefaultFlowCallback, callback], model, None, None, None
    )
    handler.on_train_begin(arguments, state, control)
    for _ in range(first, last + 1):
        handler.on_step_begin(arguments, state, control)
        handler.on_substep_end(arguments, state, control)
        update(model)
        state.global_step += 1
        handler.on_step_end(arguments, state, control)
    handler.on_train_end(arguments, state, control)


def test_transformers_records_every_update(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    trained(transformers_callback(path), network(), 3)
    trained(transformers_callback(path), network(), 5, first=3)
    assert_recorded(path, (1, 2, 3, 4, 5))


def test_a_trainer_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="hands over no model"):
        trained(transformers_callback(tmp_path / "c.jsonl"), None, 1)


def test_transformers_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match="transformers is not installed"):
        transformers_callback(tmp_path / "c.jsonl")
