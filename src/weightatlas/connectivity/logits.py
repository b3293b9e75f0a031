"""The barrier of a cross-entropy taken apart, example by example, into what the logits between two networks do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weightatlas.connectivity.scoring.scored_lines import (
    RECALIBRATION_BATCHES,
    Conditions,
    Recalibrate,
    Recalibration,
    ScoredLine,
    Scorer,
)
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.held_batches import HELD_BYTES
from weightatlas.evaluation.mean_loss import wide
from weightatlas.evaluation.scoring import logits_of
from weightatlas.evaluation.states import State, fit_state

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from weightatlas.evaluation.batches import Batch

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LogitDecomposition:
    """A barrier of a cross-entropy at one point, and its three parts: barrier = defect - jensen - target.

    Attributes:
        alpha: the point.
        barrier_of_examples: float64 (examples,), the loss of each example above the chord of its two ends, in nats.
        defect_of_examples: float64 (examples,), how much the log-sum-exp of the logits exceeds that of the averaged
            logits: what the weights' average does to all logits together.
        jensen_of_examples: float64 (examples,), 0 or more: what averaging the two networks' logits alone gains.
        target_of_examples: float64 (examples,), how much the target's own logit exceeds the averaged one.
        shift_of_examples: float64 (examples,), root mean square over classes of z - m: 0 where the logits between are
            the average of both ends', whatever the weights.
        recalibrated: "batch-norm", "repair" or None.
        recalibration_batches: on how many batches.
        notes: what was assumed, one sentence each.
    """

    alpha: float
    barrier_of_examples: Array
    defect_of_examples: Array
    jensen_of_examples: Array
    target_of_examples: Array
    shift_of_examples: Array
    recalibrated: Recalibration | None
    recalibration_batches: int
    notes: tuple[str, ...]

    @property
    def barrier(self) -> float:
        """Mean over examples: the loss above the chord at `alpha`, of either sign."""
        return float(self.barrier_of_examples.mean())

    @property
    def defect(self) -> float:
        """Mean over examples."""
        return float(self.defect_of_examples.mean())

    @property
    def jensen(self) -> float:
        """Mean over examples, 0 or more: how far an ensemble that averages logits lies below the chord."""
        return float(self.jensen_of_examples.mean())

    @property
    def target(self) -> float:
        """Mean over examples."""
        return float(self.target_of_examples.mean())

    @property
    def examples(self) -> int:
        """How many the means are over."""
        return len(self.barrier_of_examples)


def logit_decomposition(
    model: nn.Module,
    a: State,
    b: State,
    data: Iterable[Batch],
    *,
    alpha: float = 0.5,
    recalibrate: Recalibrate = "auto",
    recalibration_data: Iterable[Batch] | None = None,
    recalibration_batches: int = RECALIBRATION_BATCHES,
    recalibration_passes: int = 1,
    examples: int | None = None,
    held_bytes: int = HELD_BYTES,
    seed: int = 0,
) -> LogitDecomposition:
    r"""Take the barrier of a cross-entropy at one point apart.

    With the logits z of the network at \(\alpha\), \(z_a\) and \(z_b\) of both ends, their average
    \(m = (1 - \alpha) z_a + \alpha z_b\) and the target y, the loss of an example above its chord is exactly

    $$B = [\operatorname{lse}(z) - \operatorname{lse}(m)]
    - [(1 - \alpha) \operatorname{lse}(z_a) + \alpha \operatorname{lse}(z_b) - \operatorname{lse}(m)] - (z_y - m_y),$$

    defect - jensen - target. The second part is 0 or more, as log-sum-exp is convex: were the logits between the
    average of both ends', the barrier would be -jensen, at or below 0. So a barrier comes from the logits' shift
    \(d = z - m\) alone: it raises all logits (defect) and the target's (target), and what it raises the target's by
    less than the others' is lost.

    Forward passes only; the mean over positions where a network classifies these. Computed in double precision from the
    logits as the network gives them.

    Args:
        model: the network, which gives logits; its own weights do not count.
        a: the state at alpha = 0, by the model's names.
        b: the state at alpha = 1.
        data: pairs of inputs and int64 targets.
        alpha: the point, 0 to 1.
        recalibrate: as in `barrier`; the ends are recalibrated too.
        recalibration_data: as in `barrier`.
        recalibration_batches: as in `barrier`.
        recalibration_passes: as in `barrier`.
        examples: how many of the data at most, the first ones; None is all.
        held_bytes: of data that are held.
        seed: of random layers.

    Returns:
        All parts of every example.

    Raises:
        ValueError: alpha is not between 0 and 1, or there are no examples.
        SourceError: a state does not fit the model, or the data do not.
        ClassesError: the logits do not fit the targets.
        NotFiniteError: logits are not finite.

    **Source:** the identity follows from the definitions in a line; as a way to read barriers it is that of
    anemptyship.com/lmc.html (2026), whose D, J and E_y these parts are.

    Example:
        >>> line = torch.nn.Linear(1, 2, bias=False)
        >>> a, b = {"weight": torch.tensor([[3.0], [0.0]])}, {"weight": torch.tensor([[5.0], [2.0]])}
        >>> found = logit_decomposition(line, a, b, [(torch.ones(1, 1), torch.tensor([0]))])
        >>> [round(part, 6) for part in (found.barrier, found.defect, found.jensen, found.target)]  # linear: no shift
        [0.0, 0.0, 0.0, 0.0]
    """
    if not 0 <= alpha <= 1:
        message = f"alpha must be from 0 to 1, not {alpha}"
        raise ValueError(message)
    conditions = Conditions(
        examples=examples,
        recalibrate=recalibrate,
        recalibration_data=recalibration_data,
        recalibration_batches=recalibration_batches,
        recalibration_passes=recalibration_passes,
        held_bytes=held_bytes,
        seed=seed,
    )
    ends = fit_state(model, a, name="the first state"), fit_state(model, b, name="the second state")
    scorer = Scorer(model, data, conditions)
    line = ScoredLine(scorer, *ends)
    logits = [_logits(scorer, line.move_to(point)) for point in (0.0, alpha, 1.0)]
    batches = zip(*logits, scorer.batches, strict=True)
    parts = torch.cat([_parts(first, between, last, batch[1], alpha) for first, between, last, batch in batches], dim=1)
    if not bool(parts.isfinite().all()):
        message = "the networks' logits are not finite: check their weights and the data"
        raise NotFiniteError(message)
    barrier, defect, jensen, target, shift = parts.cpu().to(torch.float64).numpy()
    return LogitDecomposition(
        alpha=alpha,
        barrier_of_examples=barrier,
        defect_of_examples=defect,
        jensen_of_examples=jensen,
        target_of_examples=target,
        shift_of_examples=shift,
        recalibrated=scorer.recalibration,
        recalibration_batches=scorer.recalibration_batches,
        notes=scorer.notes,
    )


def _logits(scorer: Scorer, state: State) -> list[torch.Tensor]:
    """The logits of every batch."""
    outputs = scorer.outputs
    with outputs.ready():
        return [logits_of(outputs(state, inputs), targets) for inputs, targets in scorer.batches]


def _parts(
    first: torch.Tensor, between: torch.Tensor, last: torch.Tensor, targets: torch.Tensor, alpha: float
) -> torch.Tensor:
    """Barrier, defect, jensen, target and shift of every example of a batch, (5, examples)."""
    z_a, z, z_b = (logits.to(wide(logits)) for logits in (first, between, last))
    average = z_a + alpha * (z_b - z_a)
    level_a, level, level_b, level_of_average = (one.logsumexp(1) for one in (z_a, z, z_b, average))
    chord = level_a + alpha * (level_b - level_a)
    chosen_a, chosen, chosen_b, chosen_average = (
        one.gather(1, targets[:, None])[:, 0] for one in (z_a, z, z_b, average)
    )
    losses = [one - two for one, two in ((level_a, chosen_a), (level, chosen), (level_b, chosen_b))]
    parts = torch.stack(
        [
            losses[1] - losses[0] - alpha * (losses[2] - losses[0]),
            level - level_of_average,
            chord - level_of_average,
            chosen - chosen_average,
            (z - average).square().mean(1).sqrt(),
        ]
    )
    return parts.flatten(2).mean(2) if parts.ndim > 2 else parts
