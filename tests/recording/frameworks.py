"""Stand-ins for training frameworks, which call hooks as these document it; where one is installed, its own classes."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from weightatlas.recording.callbacks import LIGHTNING

if TYPE_CHECKING:
    from collections.abc import Callable


def stand_in(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `Callback` in the place of one of Lightning's packages, and nothing in that of the other."""
    for name in LIGHTNING:
        monkeypatch.setitem(sys.modules, name, None)
    module: Any = ModuleType(package)
    module.Callback = Callback
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, package, module)


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

    def __init__(
        self,
        callback: Any,  # noqa: ANN401
        *,
        update: Callable[[Any], object],
        batch: Callable[[Any], object] = lambda _: None,
        accumulate: int = 1,
        global_step: int = 0,
    ) -> None:
        self.callback, self.update, self.batch = callback, update, batch
        self.accumulate, self.global_step = accumulate, global_step
        self.loggers = [Logger()]

    def fit(self, model: Any, batches: int, *, interrupt: bool = False) -> None:  # noqa: ANN401
        self.callback.on_train_start(self, model)
        for number in range(batches):
            self.batch(model)
            if (number + 1) % self.accumulate == 0:
                self.update(model)
                self.global_step += 1
            self.callback.on_train_batch_end(self, model, None, None, number)
        if interrupt:
            self.callback.on_exception(self, model, KeyboardInterrupt())
        else:
            self.callback.on_train_end(self, model)


def trained(callback: Any, model: Any, update: Callable[[Any], object], last: int, first: int = 1) -> None:  # noqa: ANN401
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
