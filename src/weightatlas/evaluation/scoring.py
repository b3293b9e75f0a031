"""How well a classifier does on data: loss, top-1, top-5."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from weightatlas.errors import WeightatlasError
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.outputs import output_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from weightatlas.evaluation.batches import Batch


class ClassesError(WeightatlasError, ValueError):
    """A network and its data do not have the same classes, or what it gives are no logits."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well a classifier does, or a network that classifies every position of its inputs.

    Attributes:
        loss: mean cross-entropy, in nats.
        accuracy: share whose largest logit is the target's (top-1), 0 to 1.
        top5: share whose target is among the five largest logits; with fewer than six classes it is 1.
        examples: how many targets were scored.
    """

    loss: float
    accuracy: float
    top5: float
    examples: int


def evaluate(model: torch.nn.Module, batches: Iterable[Batch]) -> Score:
    """Score a classifier in evaluation mode, without gradients; its mode is put back afterwards.

    Sums are kept on the model's device in float64, so that no batch waits for the one before.

    Args:
        model: inputs to logits (batch, classes), or (batch, classes, ...) of which each position has a target; or to
            what `logits_of` takes.
        batches: pairs of inputs (batch, ...) and int64 targets (batch,), or (batch, ...) of positions: of texts
            (batch, positions), of images (batch, height, width).

    Raises:
        ValueError: there is no batch.
        ClassesError: the logits do not fit the targets.

    Example:
        >>> from weightatlas.evaluation import evaluate
        >>> evaluate(torch.nn.Identity(), [(torch.eye(4), torch.tensor([0, 1, 2, 0]))]).accuracy
        0.75
    """
    loss, first, five, seen = score_sums(model, batches).tolist()
    if not seen:
        message = "there is no batch to evaluate on; give one or more"
        raise ValueError(message)
    return Score(loss / seen, first / seen, five / seen, int(seen))


def score_sums(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    *,
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> torch.Tensor:
    """Sum what `Score` has the means of, (loss, top-1, top-5, examples): processes add theirs up before dividing.

    Args:
        model: as `evaluate` takes it.
        batches: as `evaluate` takes them; they are made outside of `within`, whose type must not decide what they hold.
        within: entered whenever the network runs: a lower precision.

    Returns:
        float64 on the model's device (float32 where that has none), (4,).
    """
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    sums = torch.zeros(4, dtype=torch.float32 if where.type == "mps" else torch.float64, device=where)
    with in_mode(model, training=False), torch.no_grad():
        for inputs, targets in batches:
            wanted = targets.to(where)
            with within():
                output = model(inputs.to(where))
            logits = in_full(logits_of(output, targets))
            right = logits.topk(min(5, logits.shape[1]), dim=1).indices == wanted[:, None]
            loss = functional.cross_entropy(logits, wanted, reduction="sum")
            sums += torch.stack([loss, right[:, 0].sum(), right.sum(), torch.full_like(loss, wanted.numel())])
    return sums


def in_full(logits: torch.Tensor) -> torch.Tensor:
    """The same numbers in single precision at least: half of it does not carry a sum of exponentials."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def logits_of(output: Any, targets: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - what a network gives
    """Take the logits from what a network gives.

    That is `output_tensor`: a tensor, an object with `logits` (transformers, GoogLeNet), or a mapping with "logits" or
    "out" (torchvision's networks of segmentation).

    Raises:
        ClassesError: they are no (batch, classes) where the targets are (batch,), no (batch, classes, positions) or
            (batch, classes, height, width) where those are (batch, positions) or (batch, height, width); the targets
            are not int64, or beyond the classes. On a GPU the last is not looked at: the answer would have to be waited
            for.
    """
    logits = output_tensor(output)
    positions = logits.ndim - 1 if isinstance(logits, torch.Tensor) and logits.ndim in (3, 4) else 1
    if targets.ndim not in (1, positions) or targets.dtype != torch.int64:
        given = f"{str(targets.dtype).removeprefix('torch.')} {list(targets.shape)}"
        message = f"the targets are {given}; a classifier takes the numbers of classes: int64 (batch,)"
        raise ClassesError(message)
    fits = isinstance(logits, torch.Tensor) and logits.ndim == targets.ndim + 1
    if not isinstance(logits, torch.Tensor) or not fits or logits[:, 0].shape != targets.shape:
        what = list(logits.shape) if isinstance(logits, torch.Tensor) else type(output).__name__
        wanted = f"({', '.join(('batch', 'classes', *map(str, targets.shape[1:])))})"
        message = f"the network gives {what} for {len(targets)} inputs; a classifier gives logits {wanted}"
        raise ClassesError(message)
    if targets.device.type == "cpu" and targets.numel():
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= logits.shape[1]:
            message = f"targets are {low} to {high}, where the network tells {logits.shape[1]} classes apart"
            raise ClassesError(message)
    return logits
