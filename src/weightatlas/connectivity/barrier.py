"""The barrier between two networks: how high loss and error rise on the straight line that joins them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from weightatlas.connectivity.scoring.heights import Height, Reference, height, reference_line
from weightatlas.connectivity.scoring.refinement import next_point
from weightatlas.connectivity.scoring.scored_lines import (
    RECALIBRATION_BATCHES,
    Conditions,
    Recalibrate,
    ScoredLine,
    Scorer,
)
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.held_batches import HELD_BYTES
from weightatlas.evaluation.states import State, fit_state
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.example_scores import ExampleLoss, ExampleScores

    Array = npt.NDArray[np.float64]

REFINEMENTS: Final = 12
"""Most points that are computed beyond the grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Barrier:
    """Loss and error along the straight line between two networks.

    Attributes:
        alphas: float64 (points,), ascending from 0 (the first network) to 1.
        losses: float64 (points,), the mean loss at each; NaN where it is not finite.
        errors: float64 (points,), share of wrong answers, 0 to 1; NaN where the output are no logits of classes.
        loss_barrier: how high the loss rises, in nats for cross-entropy.
        error_barrier: how high the error rises, as a share.
        reference: what they are measured against: "chord" or "mean".
        recalibrated: "batch-norm", "repair" or None: what was estimated anew at every point.
        recalibration_batches: on how many batches; 0 where nothing was.
        recalibration_examples: how many examples these hold.
        losses_of_examples: float64 (points, examples).
        errors_of_examples: float64 (points, examples).
        seconds_evaluating: what running the networks on the data took.
        seconds_recalibrating: what estimating statistics took.
        notes: what was assumed or could not be computed, one sentence each.
    """

    alphas: Array
    losses: Array
    errors: Array
    loss_barrier: Height
    error_barrier: Height
    reference: Reference
    recalibrated: Literal["batch-norm", "repair"] | None
    recalibration_batches: int
    recalibration_examples: int
    losses_of_examples: Array
    errors_of_examples: Array
    seconds_evaluating: float
    seconds_recalibrating: float
    notes: tuple[str, ...]

    @property
    def examples(self) -> int:
        """How many the means are over."""
        return int(self.losses_of_examples.shape[1])

    @property
    def resolution(self) -> float:
        """How far the loss barrier may be below the maximum over all alpha: `loss_barrier.resolution`."""
        return self.loss_barrier.resolution

    def reference_line(self, values: Array) -> Array:
        """What a curve over `alphas`, (points,), is measured against: the chord or the mean of its ends."""
        return reference_line(values, self.alphas, self.reference)


def barrier(
    model: nn.Module,
    a: State,
    b: State,
    data: Iterable[Batch],
    loss: ExampleLoss | None = None,
    *,
    points: int = 11,
    tolerance: float | None = None,
    refinements: int = REFINEMENTS,
    recalibrate: Recalibrate = "auto",
    recalibration_data: Iterable[Batch] | None = None,
    recalibration_batches: int = RECALIBRATION_BATCHES,
    recalibration_passes: int = 1,
    reference: Reference = "chord",
    examples: int | None = None,
    confidence: float = 0.95,
    held_bytes: int = HELD_BYTES,
    seed: int = 0,
    progress: Progress = silent,
) -> Barrier:
    r"""Measure how high loss and error rise on the straight line between two networks.

    With \(L(\alpha)\) the mean loss at \((1 - \alpha) a + \alpha b\), the barrier is
    \(\max_\alpha L(\alpha) - R(\alpha)\), where R is the chord \((1 - \alpha) L(0) + \alpha L(1)\) or, with
    `reference="mean"`, \((L(0) + L(1)) / 2\); the same of the error. The maximum runs over both ends too: against the
    chord it is 0 or more, against the mean at least half of what the ends differ by. `midpoint` is the rise at 1/2.

    **Statistics.** The average of two networks' batch-norm statistics is not that of the averaged network. By default
    they are estimated anew (`weightatlas.evaluation.recalibrate`) at every point, the ends included, so that the chord
    compares like with like: at the ends they differ from the networks' own by the sample they were estimated on.
    "auto" does so where the network has such statistics and nothing where it has none: normalisation by layer or group
    adapts by itself, and REPAIR rewrites weights, which should be asked for. "repair" sets mean and deviation of every
    convolution's and linear layer's channels to the interpolation of both ends' own
    (`weightatlas.evaluation.repair`), which leaves the ends as they are.

    **Grid.** Even points, and 1/2. With a tolerance, points are added where the curve may still be higher, until the
    maximum of the loss is known to it, and that of the error to it or one example, whichever is more; `refinements` is
    the most. Both barriers' `resolution` says how far that came.

    **Interval.** Over the data, by a band that holds the whole curve (`heights.band_of_maximum`): the two networks are
    fixed, examples are drawn.

    Dropout is off, and the model is left as it is: weights, buffers, modes, random generators. The data are fetched
    once and held on the model's device, up to `held_bytes`; beyond that they are gone through once for each point.

    Args:
        model: the network; its own weights do not count.
        a: the state at alpha = 0, by the model's names.
        b: the state at alpha = 1.
        data: pairs of inputs and targets; held-out data, best.
        loss: from what the model gives and the targets to the loss of each example, (examples,); None is cross-entropy.
        points: of the even grid, both ends counted.
        tolerance: by which the maximum over alpha may be missed, in units of the loss; None computes the grid alone.
        refinements: the most points beyond the grid.
        recalibrate: "auto", "batch-norm", "repair" or None.
        recalibration_data: what statistics are estimated on, training data best; None is `data`.
        recalibration_batches: the first so many batches of these.
        recalibration_passes: over these batches.
        reference: "chord" or "mean".
        examples: how many of the data at most, the first ones; None is all.
        confidence: of the intervals.
        held_bytes: of data that are held.
        seed: of the intervals' draws, and of random layers.
        progress: called as points are done.

    Returns:
        Curves, both barriers and what they cost. Where the network between is not finite its point is NaN: heights are
        over the other points, their resolution is infinite, and a note says so.

    Raises:
        ValueError: an option is out of range, or there are no examples.
        SourceError: a state does not fit the model, or the data do not.
        ClassesError: the logits do not fit the targets.
        NotFiniteError: the loss at one of the ends is not finite.

    **Source:** Frankle and others, *Linear Mode Connectivity and the Lottery Ticket Hypothesis* (2020), of the error
    against the mean; Entezari and others, *The Role of Permutation Invariance in Linear Mode Connectivity* (2022),
    against the chord; Jordan and others, *REPAIR* (2023), for statistics. Refinement and intervals are ours.

    Example:
        >>> import torch
        >>> line = torch.nn.Linear(1, 1, bias=False)
        >>> a, b = ({"weight": torch.tensor([[sign]])} for sign in (-1.0, 1.0))
        >>> ridge = lambda output, _: 1 - output[:, 0] ** 2
        >>> found = barrier(line, a, b, [(torch.ones(4, 1), torch.zeros(4))], ridge, points=5)
        >>> found.losses.tolist(), found.loss_barrier.height, found.loss_barrier.alpha
        ([0.0, 0.75, 1.0, 0.75, 0.0], 1.0, 0.5)
    """
    _check(points, tolerance, refinements, reference, confidence)
    conditions = Conditions(
        loss=loss,
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
    curve = _Curve(line, reference, progress)
    curve.compute(sorted({*np.linspace(0, 1, points).tolist(), 0.5}))
    if tolerance is not None:
        curve.refine(tolerance, refinements)
    alphas, losses, errors = curve.arrays()
    notes = scorer.notes
    if np.isnan(losses).any():
        where = ", ".join(f"{alpha:g}" for alpha in alphas[np.isnan(losses).any(axis=1)])
        notes += (f"the loss is not finite at alpha = {where}: the barrier is that of the other points",)
    of = partial(height, alphas, reference=reference, confidence=confidence, seed=seed)
    return Barrier(
        alphas=alphas,
        losses=losses.mean(axis=1),
        errors=errors.mean(axis=1),
        loss_barrier=of(losses),
        error_barrier=of(errors),
        reference=reference,
        recalibrated=scorer.recalibration,
        recalibration_batches=scorer.recalibration_batches,
        recalibration_examples=scorer.recalibration_examples,
        losses_of_examples=losses,
        errors_of_examples=errors,
        seconds_evaluating=scorer.seconds_evaluating,
        seconds_recalibrating=scorer.seconds_recalibrating,
        notes=notes,
    )


class _Curve:
    """Scores at the points of a line so far."""

    def __init__(self, line: ScoredLine, reference: Reference, progress: Progress) -> None:
        self._line, self._reference, self._progress = line, reference, progress
        self._scores: dict[float, ExampleScores] = {}

    def compute(self, alphas: list[float]) -> None:
        """Compute a grid, the ends first.

        Raises:
            NotFiniteError: the loss at an end is not finite.
        """
        for done, alpha in enumerate([alphas[0], alphas[-1], *alphas[1:-1]], start=1):
            self._scores[alpha] = self._line.score(alpha)
            if alpha in (0, 1) and not self._scores[alpha].is_finite:
                which = "second" if alpha else "first"
                message = f"the {which} network's loss is not finite: check its weights and the data"
                raise NotFiniteError(message)
            self._progress(done, len(alphas), f"alpha = {alpha:g}")

    def refine(self, tolerance: float, most: int) -> None:
        """Add points until both maxima are known, that of the error to one example at least."""
        for number in range(1, most + 1):
            alpha = self._next(tolerance)
            if alpha is None:
                return
            self._scores[alpha] = self._line.score(alpha)
            self._progress(number, most, f"alpha = {alpha:g}")

    def _next(self, tolerance: float) -> float | None:
        alphas, losses, errors = self.arrays()
        for values, least in ((losses, 0.0), (errors, 1 / losses.shape[1])):
            means = (values - reference_line(values, alphas, self._reference)).mean(axis=1)
            finite = np.isfinite(means)
            if finite.sum() >= 3:
                found = next_point(alphas[finite], means[finite], max(tolerance, least))
                if found is not None and found not in self._scores:
                    return found
        return None

    def arrays(self) -> tuple[Array, Array, Array]:
        """Alphas (points,), losses and errors (points, examples)."""
        ordered = sorted(self._scores.items())
        alphas = np.array([alpha for alpha, _ in ordered], dtype=np.float64)
        return alphas, np.stack([one.losses for _, one in ordered]), np.stack([one.errors for _, one in ordered])


def _check(
    points: int,
    tolerance: float | None,
    refinements: int,
    reference: str,
    confidence: float,
) -> None:
    problem = ""
    if points < 3:
        problem = f"points must be 3 or more, not {points}"
    elif tolerance is not None and not (tolerance > 0 and math.isfinite(tolerance)):
        problem = f"tolerance must be above 0, not {tolerance}"
    elif refinements < 0:
        problem = f"refinements must be 0 or more, not {refinements}"
    elif reference not in get_args(Reference):
        problem = f"reference must be {' or '.join(get_args(Reference))}, not {reference!r}"
    elif not 0 < confidence < 1:
        problem = f"confidence must lie between 0 and 1, not {confidence}"
    if problem:
        raise ValueError(problem)
