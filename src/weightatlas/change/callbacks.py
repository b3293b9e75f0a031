"""Recorders for training frameworks: a callback of Lightning's, one of transformers' Trainer."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.change.recorder import Recorder
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    import os

LIGHTNING: Final = ("lightning.pytorch", "pytorch_lightning")
"""Where Lightning's `Callback` is: under its new name, and under its old one."""


def lightning_callback(path: str | os.PathLike[str], *, package: str | None = None, **options: Any) -> Any:  # noqa: ANN401
    """Make a Lightning callback that records a training.

    It takes the first weights when training starts (after a checkpoint has been loaded, and after the strategy has
    sharded the model) and records after optimizer steps, `trainer.global_step` of them. With gradients accumulated over
    several batches, a batch without a step is none.

    Args:
        path: of the file.
        package: "lightning.pytorch" or "pytorch_lightning", where both are installed; it must be the one that the
            Trainer is from.
        options: those of `Recorder` but `at`. `log=True` hands each record to the Trainer's loggers.

    Returns:
        An instance of the package's `Callback`.

    Raises:
        MissingDependencyError: Lightning is not installed.
        ValueError: `package` is neither of the two.

    Example:
        .. code-block:: python

            trainer = lightning.Trainer(callbacks=[lightning_callback("change.jsonl", every="log")])
    """
    if package is not None and package not in LIGHTNING:
        message = f"package must be {' or '.join(LIGHTNING)}, not {package!r}"
        raise ValueError(message)
    base = _base(
        LIGHTNING if package is None else (package,), "Callback", "a Lightning callback", "lightning", "lightning"
    )

    class WeightChange(_LightningHooks, base):  # type: ignore[misc,valid-type]
        """Records weight change while Lightning trains."""

    return WeightChange(path, options)


def transformers_callback(path: str | os.PathLike[str], **options: Any) -> Any:  # noqa: ANN401
    """Make a callback for transformers' Trainer that records a training, after its optimizer steps.

    Args:
        path: of the file.
        options: those of `Recorder` but `at`.

    Returns:
        An instance of `transformers.TrainerCallback`.

    Raises:
        MissingDependencyError: transformers is not installed.

    Example:
        .. code-block:: python

            callback = transformers_callback("change.jsonl", every=10)
            trainer = transformers.Trainer(model, arguments, callbacks=[callback])
    """
    base = _base(("transformers",), "TrainerCallback", "a callback for transformers' Trainer", "transformers", "zoo")

    class WeightChange(_TrainerHooks, base):  # type: ignore[misc,valid-type]
        """Records weight change while transformers' Trainer trains."""

    return WeightChange(path, options)


class _Hooks:
    """What both have in common: one recorder from the start of a training to its end."""

    def __init__(self, path: str | os.PathLike[str], options: dict[str, Any]) -> None:
        super().__init__()
        self._path, self._options = Path(path), options
        self._recorder: Recorder | None = None

    def _start(self, model: Any, at: int, **options: Any) -> None:  # noqa: ANN401 - whatever the framework trains
        if model is None:
            raise SourceError(
                type(self).__name__, "the trainer hands over no model", "make a Recorder in a loop of your own"
            )
        self._end()
        self._recorder = Recorder(model, self._path, at=at, **(self._options | options))

    def _record(self, step: int) -> None:
        if self._recorder is not None:
            self._recorder.step(step)

    def _end(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


class _LightningHooks(_Hooks):
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ANN401 - Lightning's
        """Take the first weights."""
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
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ANN401, ARG002
        """Take the first weights."""
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
