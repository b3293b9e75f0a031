"""Singularities recorded in training frameworks: a callback of Lightning's, one of transformers' Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from weightatlas.conditioning.recorder import Recorder
from weightatlas.recording.callbacks import lightning_callback_of, transformers_callback_of

if TYPE_CHECKING:
    import os

NAME: Final = "EliminationSingularities"
"""What the callbacks' classes are called."""


def lightning_callback(path: str | os.PathLike[str], *, package: str | None = None, **options: Any) -> Any:  # noqa: ANN401
    """Make a Lightning callback that records a training's elimination singularities.

    A record is of the batches that lead to one optimizer step, `trainer.global_step` of them; with gradients
    accumulated over several batches, of all of these. Validation in between is left out, and so is a nonlinearity that
    `training_step` itself calls, outside of every module's `forward`.

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

            trainer = lightning.Trainer(callbacks=[lightning_callback("singularities.jsonl", every="log")])
    """
    return lightning_callback_of(Recorder, NAME, path, options, package=package)


def transformers_callback(path: str | os.PathLike[str], **options: Any) -> Any:  # noqa: ANN401
    """Make a callback for transformers' Trainer that records a training's elimination singularities.

    A record is of the batches that lead to one optimizer step. Evaluation in between is left out.

    Args:
        path: of the file.
        options: those of `Recorder` but `at`.

    Returns:
        An instance of `transformers.TrainerCallback`.

    Raises:
        MissingDependencyError: transformers is not installed.

    Example:
        .. code-block:: python

            callback = transformers_callback("singularities.jsonl", every=100)
            trainer = transformers.Trainer(model, arguments, callbacks=[callback])
    """
    return transformers_callback_of(Recorder, NAME, path, options)
