"""The loss and the error of every single example, for figures that compare networks on the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from weightatlas.evaluation.mean_loss import wide
from weightatlas.evaluation.scoring import ClassesError, in_full, logits_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.states import State, StateOutputs

    Array = npt.NDArray[np.float64]

ExampleLoss = Callable[[Any, torch.Tensor], torch.Tensor]
"""From what a network gives and the targets to the loss of every example, (examples,)."""


@dataclass(frozen=True, slots=True, eq=False)
class ExampleScores:
    """How well a network does on every example.

    Attributes:
        losses: float64 (examples,); NaN everywhere if one of them is not finite.
        errors: float64 (examples,), share of the example's positions whose largest logit is not the target's: 0 or 1
            where there is one position. NaN everywhere where the output are no logits, or a loss is not finite.
    """

    losses: Array
    errors: Array

    @property
    def is_finite(self) -> bool:
        """Whether there is a loss."""
        return not bool(np.isnan(self.losses[:1]).any())


def cross_entropies(output: Any, targets: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - what a network gives
    """Cross-entropy of every example, in nats; the mean over its positions where a network classifies those.

    Raises:
        ClassesError: the logits do not fit the targets.

    Example:
        >>> cross_entropies(torch.zeros(2, 8), torch.tensor([0, 1]))
        tensor([2.0794, 2.0794])
    """
    losses = functional.cross_entropy(in_full(logits_of(output, targets)), targets, reduction="none")
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def example_scores(
    outputs: StateOutputs, state: State, batches: Iterable[Batch], *, loss: ExampleLoss | None = None
) -> ExampleScores:
    """Score a network with a state on every example; no batch waits for the one before.

    Args:
        outputs: of the network.
        state: as `fit_state` gives it.
        batches: pairs of inputs and targets.
        loss: of every example; None is cross-entropy.

    Raises:
        ClassesError: the logits do not fit the targets, and no other loss is given.
        ValueError: the loss does not give one value for each example.
        SourceError: the network cannot take the inputs.
    """
    losses: list[torch.Tensor] = []
    errors: list[torch.Tensor] = []
    measure = cross_entropies if loss is None else loss
    with outputs.ready():
        for inputs, targets in batches:
            given, wanted = inputs.to(outputs.device), targets.to(outputs.device)
            output = outputs(state, given)
            found = measure(output, wanted)
            if found.shape != (len(given),):
                message = f"the loss gives {list(found.shape)} for {len(given)} examples; it must give ({len(given)},)"
                raise ValueError(message)
            losses.append(found.to(wide(found)))
            errors.append(_wrong_shares(output, wanted, required=loss is None).to(wide(found)))
    both = torch.stack([torch.cat(losses), torch.cat(errors)]).cpu().to(torch.float64).numpy()
    if not np.isfinite(both[0]).all():
        both = np.full_like(both, np.nan)
    return ExampleScores(both[0], both[1])


def _wrong_shares(output: Any, targets: torch.Tensor, *, required: bool) -> torch.Tensor:  # noqa: ANN401
    """Share of each example's positions that are classified wrong; NaN where the output are no logits of classes."""
    try:
        logits = logits_of(output, targets)
    except ClassesError:
        if required:
            raise
        return torch.full((len(targets),), float("nan"), device=targets.device)
    wrong = (logits.argmax(1) != targets).to(torch.float32)
    return wrong.flatten(1).mean(1) if wrong.ndim > 1 else wrong
