"""Recorders in training frameworks: what calls them from Lightning, and from transformers' Trainer."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

LIGHTNING: Final = ("lightning.pytorch", "pytorch_lightning")
"""Where Lightning's `Callback` is: under its new name, and under its old one."""


class StepRecorder(Protocol):
    """What records a training."""

    def step(self, step: int) -> object:
        """Take in that so many updates have been made."""

    def close(self) -> object:
        """Write what is left."""


if TYPE_CHECKING:
    MakeRecorder = Callable[..., StepRecorder]


def lightning_callback_of(
    make: MakeRecorder, name: str, path: str | os.PathLike[str], options: dict[str, Any], *, package: str | None = None
) -> Any:  # noqa: ANN401 - of a class of another package
    """Make a Lightning callback around a recorder.

    The recorder is made when training starts, after a checkpoint has been loaded and the strategy has sharded the
    model, and told of optimizer steps, `trainer.global_step` of them: a batch without a step is none.

    Args:
        make: makes the recorder: `make(model, path, at=step, **options)`.
        name: of the callback's class.
        path: of the recorder's file.
        options: of the recorder but `at`. A `log` of True becomes a function that hands records to the Trainer's
            loggers.
        package: one of `LIGHTNING`; by default the first that is installed.

    Raises:
        MissingDependencyError: Lightning is not installed.
        ValueError: `package` is none of `LIGHTNING`.
    """
    if package is not None and package not in LIGHTNING:
        message = f"package must be {' or '.join(LIGHTNING)}, not {package!r}"
        raise ValueError(message)
    base = _base(
        LIGHTNING if package is None else (package,), "Callback", "a Lightning callback", "lightning", "lightning"
    )
    return type(name, (_LightningHooks, base), {})(make, path, options)


def transformers_callback_of(
    make: MakeRecorder, name: str, path: str | os.PathLike[str], options: dict[str, Any]
) -> Any:  # noqa: ANN401 - of a class of another package
    """Make a callback for transformers' Trainer around a recorder, which is told of optimizer steps.

    Args:
        make: makes the recorder: `make(model, path, at=step, **options)`.
        name: of the callback's class.
        path: of the recorder's file.
        options: of the recorder but `at`.

    Raises:
        MissingDependencyError: transformers is not installed.
    """
    base = _base(("transformers",), "TrainerCallback", "a callback for transformers' Trainer", "transformers", "zoo")
    return type(name, (_TrainerHooks, base), {})(make, path, options)


class _Hooks:
    """What both have in common: one recorder from the start of a training to its end."""

    def __init__(self, make: MakeRecorder, path: str | os.PathLike[str], options: dict[str, Any]) -> None:
        super().__init__()
        self._make, self._path, self._options = make, Path(path), options
        self._recorder: StepRecorder | None = None

    def _start(self, model: Any, at: int, **options: Any) -> None:  # noqa: ANN401 - whatever the framework trains
        if model is None:
            raise SourceError(
                type(self).__name__, "the trainer hands over no model", "make a Recorder in a loop of your own"
            )
        self._end()
        self._recorder = self._make(model, self._path, at=at, **(self._options | options))

    def _record(self, step: int) -> None:
        if self._recorder is not None:
            self._recorder.step(step)

    def _end(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


class _LightningHooks(_Hooks):
    """Called by Lightning."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401 - Lightning's
        """Make the recorder."""
        options = {}
        if self._options.get("log") is True:

            def log(row: dict[str, float], step: int) -> None:
                for logger in trainer.loggers:
                    logger.log_metrics(row, step)

            options["log"] = log
        self._start(pl_module, trainer.global_step, **options)

    def on_train_batch_end(
        self,
        trainer: Any,  # noqa: ANN401
        pl_module: Any,  # noqa: ANN401, ARG002 - the hook's own arguments
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Record."""
        self._record(trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401, ARG002
        """Write what is left."""
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ANN401, ARG002
        """Write what is left: the training ends early."""
        self._end()


class _TrainerHooks(_Hooks):
    """Called by transformers' Trainer."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ANN401, ARG002
        """Make the recorder."""
        self._start(model, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401, ARG002
        """Record."""
        self._record(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401, ARG002
        """Write what is left."""
        self._end()


def _base(modules: tuple[str, ...], name: str, need: str, package: str, extra: str) -> Any:  # noqa: ANN401 - a class of another package
    """The class that a framework's callbacks are of."""
    for module in modules:
        try:
            return getattr(import_module(module), name)
        except ImportError:
            continue
    raise MissingDependencyError(need, package, extra)
