"""How training breaks down, and what is said then: where it stands, what is safe, what to change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.errors import NotFiniteError, WeightatlasError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.lab.records import RunFolder

NO_MEMORY: Final = ("can't allocate memory", "out of memory", "not enough memory", "alloc_failed")
ESTIMATES: Final = ("running_mean", "running_var")


class DivergedError(WeightatlasError, ArithmeticError):
    """Training broke down: the loss or a weight is no longer a finite number."""


class OutOfMemoryError(WeightatlasError):
    """A batch does not fit into the memory of the device."""


@contextmanager
def broken_down(step: int, size: int, parts: int, folder: RunFolder | None) -> Iterator[None]:
    """Turn what breaks an update into one sentence that says what to change: memory runs out, a layer meets NaN.

    Args:
        step: updates made before the block.
        size: of the batch.
        parts: that each process splits its share of it into.
        folder: of the run.

    Raises:
        OutOfMemoryError: memory ran out while the block ran.
        DivergedError: a layer of the network refused numbers that are not finite.
    """
    try:
        yield
    except NotFiniteError as error:
        remedy = "check that the inputs are finite, or lower the learning rate"
        message = f"at step {step + 1} {error}; {remedy}{_safe(folder)}"
        raise DivergedError(message) from error
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(
            phrase in text.lower() for phrase in NO_MEMORY
        ):
            raise
        message = (
            f"out of memory at step {step + 1} with a batch of {size} in {parts} part{'' if parts == 1 else 's'}; "
            f"raise --accumulate or lower --batch-size{_safe(folder)}"
        )
        raise OutOfMemoryError(message) from error


def diverged(loss: float, step: int, learning_rate: float, folder: RunFolder | None) -> DivergedError:
    """The error of a loss that is not finite."""
    return DivergedError(
        f"the loss is {loss} at step {step}; check that the inputs are finite, or lower the learning rate "
        f"({learning_rate:g} then){_safe(folder)}"
    )


def check_weights(model: torch.nn.Module, step: int, folder: RunFolder | None) -> None:
    """See that every weight is finite before it is saved: an update may break them after a loss that was.

    Running estimates are looked at too; other buffers are not, for a mask may hold infinities.

    Raises:
        DivergedError: one is not.
    """
    buffers = [item for item in model.named_buffers() if item[0].rpartition(".")[2] in ESTIMATES]
    for name, tensor in (*model.named_parameters(), *buffers):
        if not bool(tensor.isfinite().all()):
            message = f"{name} is not finite after step {step}; lower the learning rate{_safe(folder)}"
            raise DivergedError(message)


def _safe(folder: RunFolder | None) -> str:
    """What of the run is kept."""
    if folder is None:
        return ""
    saved = folder.saved()
    return f"; the last good checkpoint is {folder.checkpoint(saved[-1])}" if saved else "; nothing was saved yet"
