"""Networks on straight lines scored on the same examples, their statistics estimated anew where that is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import torch

from weightatlas.connectivity.line import blend_state_into
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.example_scores import ExampleScores, example_scores
from weightatlas.evaluation.held_batches import HELD_BYTES, HeldBatches
from weightatlas.evaluation.recalibration import estimate_statistics, has_batch_statistics, has_fixed_statistics
from weightatlas.evaluation.repair import ChannelStatistics, set_right, statistics_of
from weightatlas.evaluation.states import State, StateOutputs

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.example_scores import ExampleLoss

Recalibration = Literal["batch-norm", "repair"]
Recalibrate = Literal["auto", "batch-norm", "repair"] | None

RECALIBRATION_BATCHES: Final = 10
"""Of the data's own size: with 64 images each, hundreds of images for every channel of the last maps."""

Statistics = Mapping[str, ChannelStatistics]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How networks are scored.

    Attributes:
        loss: of every example; None is cross-entropy.
        examples: how many at most, the first ones; None is all.
        recalibrate: what is estimated anew: "auto" is "batch-norm" where a network has such statistics, else None.
        recalibration_data: on what; None is the data themselves.
        recalibration_batches: on how many batches of these, the first ones.
        recalibration_passes: over them.
        held_bytes: of the data, above which they are fetched again for every network.
        seed: of random layers.
    """

    loss: ExampleLoss | None = None
    examples: int | None = None
    recalibrate: Recalibrate = "auto"
    recalibration_data: Iterable[Batch] | None = None
    recalibration_batches: int = RECALIBRATION_BATCHES
    recalibration_passes: int = 1
    held_bytes: int = HELD_BYTES
    seed: int = 0


def recalibration_of(model: nn.Module, recalibrate: Recalibrate) -> Recalibration | None:
    """What is estimated anew in a network.

    Raises:
        ValueError: there is no such kind, or the network has no statistics of the one asked for.
    """
    if recalibrate == "auto":
        return "batch-norm" if has_batch_statistics(model) else None
    if recalibrate is not None and recalibrate not in get_args(Recalibration):
        message = f"recalibrate must be auto, {', '.join(get_args(Recalibration))} or None, not {recalibrate!r}"
        raise ValueError(message)
    if recalibrate == "batch-norm" and not has_batch_statistics(model):
        message = 'the network has no batch-norm statistics to estimate anew: recalibrate="repair", "auto" or None'
        raise ValueError(message)
    return recalibrate


class Scorer:
    """Scores states of one network on the same examples.

    Attributes:
        outputs: of the network.
        batches: the examples.
        recalibration: what is estimated anew before a state is scored.
        recalibration_batches: on how many batches; 0 without recalibration.
        recalibration_examples: on how many examples.
        seconds_evaluating: so far.
        seconds_recalibrating: so far.
        notes: what was assumed, one sentence each.
    """

    def __init__(self, model: nn.Module, data: Iterable[Batch], conditions: Conditions) -> None:
        """Fetch the data.

        Raises:
            ValueError: there are no examples, or an option is out of range.
        """
        self.recalibration = recalibration_of(model, conditions.recalibrate)
        self.outputs = StateOutputs(model, seed=conditions.seed)
        self.batches = HeldBatches(
            data, examples=conditions.examples, device=self.outputs.device, limit=conditions.held_bytes
        )
        self.notes: tuple[str, ...] = ()
        if not self.batches.is_held:
            self.notes += ("the data exceed what is held at once: they were fetched again for every network",)
        if self.recalibration is None and conditions.recalibrate is not None and has_fixed_statistics(model):
            self.notes += ("batch-norm statistics were not estimated anew: those of an exported graph cannot be",)
        self._loss, self._passes = conditions.loss, conditions.recalibration_passes
        self._material: HeldBatches | None = None
        self.recalibration_batches = self.recalibration_examples = 0
        if self.recalibration is not None:
            self._hold_material(data, conditions)
        self.seconds_evaluating = self.seconds_recalibrating = 0.0

    def _hold_material(self, data: Iterable[Batch], conditions: Conditions) -> None:
        """Fetch the batches that statistics are estimated on."""
        source = conditions.recalibration_data
        if source is None:
            source = self.batches if self.batches.is_held else data
            self.notes += ("statistics were estimated on the first batches of the data themselves",)
        most = conditions.recalibration_batches
        self._material = HeldBatches(source, batches=most, device=self.outputs.device, limit=conditions.held_bytes)
        self.recalibration_batches = self._material.count
        self.recalibration_examples = self._material.examples

    def statistics(self, state: State) -> Statistics | None:
        """What REPAIR aims at, of a network at the end of a line; None where nothing is repaired."""
        if self.recalibration != "repair" or self._material is None:
            return None
        start = self._now()
        found = statistics_of(self.outputs, state, self._material)
        self.seconds_recalibrating += self._now() - start
        return found

    def recalibrate(self, scratch: State, goals: Statistics | None = None) -> None:
        """Estimate a state's statistics anew, in its own tensors; with REPAIR, set them to the goals.

        Raises:
            NotFiniteError: a norm of the network refuses what reaches it.
        """
        if self._material is None:
            return
        start = self._now()
        if self.recalibration == "batch-norm":
            estimate_statistics(self.outputs, scratch, self._material, passes=self._passes)
        elif goals is not None:
            set_right(self.outputs, scratch, goals, self._material, passes=self._passes)
        self.seconds_recalibrating += self._now() - start

    def score(self, state: State) -> ExampleScores:
        """Score a state as it is. Where a network refuses what is not finite, scores are NaN."""
        start = self._now()
        try:
            found = example_scores(self.outputs, state, self.batches, loss=self._loss)
        except NotFiniteError:
            found = self.not_finite()
        self.seconds_evaluating += self._now() - start
        return found

    def recalibrated_score(self, scratch: State, goals: Statistics | None = None) -> ExampleScores:
        """Score a state after its statistics were estimated anew, in its own tensors."""
        try:
            self.recalibrate(scratch, goals)
        except NotFiniteError:
            return self.not_finite()
        return self.score(scratch)

    def not_finite(self) -> ExampleScores:
        """The scores of a network that gives none."""
        return ExampleScores(np.full(self.batches.examples, np.nan), np.full(self.batches.examples, np.nan))

    def _now(self) -> float:
        if self.outputs.device.type == "cuda":
            torch.cuda.synchronize(self.outputs.device)
        return time.perf_counter()


class ScoredLine:
    """The networks between two states, each scored when it is asked for, in one scratch copy of the weights."""

    def __init__(self, scorer: Scorer, a: State, b: State, *, scratch: State | None = None) -> None:
        """Hold both ends, which `fit_state` gave, and tensors like theirs to write into; without, new ones."""
        self._scorer, self._a, self._b = scorer, a, b
        self._scratch = {name: tensor.clone() for name, tensor in a.items()} if scratch is None else scratch
        ends = [scorer.statistics(state) for state in (a, b)]
        self._ends = None if ends[0] is None or ends[1] is None else (ends[0], ends[1])

    def move_to(self, alpha: float) -> State:
        """Bring the scratch copy to a point, with its statistics estimated anew, and give it.

        Raises:
            NotFiniteError: a norm of the network refuses what reaches it.
        """
        blend_state_into(self._scratch, self._a, self._b, alpha)
        self._scorer.recalibrate(self._scratch, self._goals(alpha))
        return self._scratch

    def score(self, alpha: float) -> ExampleScores:
        """Score the network at a point."""
        try:
            return self._scorer.score(self.move_to(alpha))
        except NotFiniteError:
            return self._scorer.not_finite()

    def _goals(self, alpha: float) -> Statistics | None:
        """Between both ends' statistics; none at an end, which has its own already."""
        if self._ends is None or alpha in (0, 1):
            return None
        return blended_statistics(*self._ends, alpha)


def blended_statistics(one: Statistics, other: Statistics, alpha: float) -> Statistics:
    """What REPAIR aims at between two networks."""
    return {path: statistics.blended(other[path], alpha) for path, statistics in one.items() if path in other}
