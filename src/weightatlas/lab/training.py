"""One visible loop that trains a classifier: AdamW under a one-cycle learning rate, seeded and deterministic."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from weightatlas.errors import WeightatlasError
from weightatlas.progress import Progress, silent

Batch = tuple[torch.Tensor, torch.Tensor]


class DivergedError(WeightatlasError, ArithmeticError):
    """Training broke down: the loss is no longer a finite number."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained: AdamW, its learning rate raised for a share of the steps and then lowered (one cycle).

    Attributes:
        steps: batches seen.
        learning_rate: its peak.
        weight_decay: decoupled, as in AdamW, on every parameter.
        warmup: share of the steps before the peak, above 0 and below 1.
    """

    steps: int
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup: float = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """What a run of training was and how it went.

    Attributes:
        recipe: how the network was trained.
        seed: what fixed the random choices of the loop.
        losses: float64, (steps,): mean cross-entropy of each batch before its update, in nats.
        accuracy: share of right answers on the data given to `evaluate`, 0 to 1; None without such data.
        seconds: time the loop took, evaluation left out; None where the run was read back from a file.
    """

    recipe: Recipe
    seed: int
    losses: npt.NDArray[np.float64]
    accuracy: float | None = None
    seconds: float | None = None


def train(
    model: torch.nn.Module,
    batches: Iterable[Batch],
    *,
    steps: int,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.01,
    warmup: float = 0.15,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: Progress = silent,
    evaluate: Iterable[Batch] | None = None,
) -> TrainingRun:
    """Train a classifier in place on cross-entropy, and leave it on `device` in evaluation mode.

    Each step takes the next batch, going through `batches` again when they end. The learning rate follows PyTorch's
    `OneCycleLR`: cosine up from a 25th of its peak over `warmup * steps` steps, cosine down to nearly nothing, while
    AdamW's first beta goes from .95 down to .85 and back.

    Args:
        model: images to logits (batch, classes).
        batches: pairs of float inputs (batch, ...) and int64 targets (batch,); must be re-iterable where it has fewer
            than `steps`.
        steps: updates, 2 or more.
        learning_rate: its peak.
        weight_decay: decoupled, on every parameter.
        warmup: share of the steps before the peak, above 0 and below 1.
        seed: fixes what the model draws while it trains, such as dropout; the global generator is left as it was. The
            model's first weights and the batches have seeds of their own.
        device: where to train; None is where the model lies.
        progress: called after every step, with the loss.
        evaluate: batches on which to measure accuracy at the end.

    Returns:
        The run; the same model, batches and seed give the same bytes on one machine with one number of threads.

    Raises:
        DivergedError: the loss is NaN or infinite; the message says at which step and what to do.
        ValueError: too few steps, a warm-up outside (0, 1), or `batches` is empty or has run out.

    **Source:** AdamW: Loshchilov and Hutter, ICLR 2019; one cycle: Smith and Topin, 2018. The defaults are those that
    train the built-in scenes.

    Example:
        >>> from weightatlas.data import Scenes
        >>> from weightatlas.nn import SMALL, SimplifiedNetwork
        >>> model = SimplifiedNetwork(SMALL, width=0.125, input_size=24, classes=4)
        >>> train(model, Scenes("top", batch=8), steps=3).losses.shape
        (3,)
    """
    recipe = Recipe(steps, learning_rate, weight_decay, warmup)
    if steps < 2 or not 0 < warmup < 1:
        message = f"training needs steps >= 2 and warmup between 0 and 1, not steps {steps} and warmup {warmup}"
        raise ValueError(message)
    where = torch.device(device) if device is not None else next(model.parameters()).device
    model.to(where).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=warmup)
    losses = np.empty(steps)
    stream = _endless(batches)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else ()):
        torch.manual_seed(seed)
        for step in range(steps):
            inputs, targets = next(stream)
            loss = functional.cross_entropy(model(inputs.to(where)), targets.to(where))
            losses[step] = loss.item()
            if not math.isfinite(losses[step]):
                message = (
                    f"the loss is {losses[step]} at step {step + 1} of {steps}; "
                    f"check that the inputs are finite, or lower the learning rate ({learning_rate:g})"
                )
                raise DivergedError(message)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            progress(step + 1, steps, f"loss {losses[step]:.3f}")
    seconds = time.perf_counter() - start
    model.eval()
    return TrainingRun(recipe, seed, losses, None if evaluate is None else accuracy(model, evaluate), seconds)


def accuracy(model: torch.nn.Module, batches: Iterable[Batch]) -> float:
    """Measure the share of inputs whose largest logit is their target's, 0 to 1, in evaluation mode.

    Args:
        model: inputs to logits (batch, classes); its mode is put back afterwards.
        batches: pairs of float inputs (batch, ...) and int64 targets (batch,).

    Raises:
        ValueError: there is no batch.

    Example:
        >>> accuracy(torch.nn.Identity(), [(torch.eye(4), torch.tensor([0, 1, 2, 0]))])
        0.75
    """
    was_training = model.training
    model.eval()
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    right = seen = 0
    with torch.no_grad():
        for inputs, targets in batches:
            answers = model(inputs.to(where)).argmax(dim=1)
            right += int((answers == targets.to(where)).sum())
            seen += len(targets)
    model.train(was_training)
    if not seen:
        message = "there is no batch to measure accuracy on; give one or more"
        raise ValueError(message)
    return right / seen


def _endless(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Go through the batches again and again."""
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            message = "the batches are empty or ran out; give a re-iterable (a list, a loader), not a one-shot iterator"
            raise ValueError(message)
