"""Weight change recorded in training frameworks: a callback of Lightning's, one of transformers' Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from weightatlas.change.recorder import Recorder
from weightatlas.recording.callbacks import lightning_callback_of, transformers_callback_of

if TYPE_CHECKING:
    import os

NAME: Final = "WeightChange"
"""What the callbacks' classes are called."""


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
    return lightning_callback_of(Recorder, NAME, path, options, package=package)


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
    return transformers_callback_of(Recorder, NAME, path, options)
