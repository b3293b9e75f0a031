"""Networks whose layers lie between two networks, each layer at a share of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightatlas.connectivity.line import blend_into
from weightatlas.connectivity.scoring.scored_lines import ScoredLine, Scorer, blended_statistics

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from weightatlas.connectivity.scoring.scored_lines import Statistics
    from weightatlas.evaluation.example_scores import ExampleScores
    from weightatlas.evaluation.states import State

Shares = tuple[float, ...]
"""Of every group: 0 where it is the first network's, 1 where it is the second's."""


class Hybrids:
    """Scores of networks between two, group by group, in one scratch copy of the weights.

    A network is told by the shares of its groups, and scored once: the second network with the first half of its layers
    from the first one is the first network with the second half from the second. Groups in which both networks are
    equal have share 0. Only the groups whose share changed are written.

    Attributes:
        scored: how many networks were run.
    """

    def __init__(self, scorer: Scorer, a: State, b: State, groups: Sequence[Collection[str]]) -> None:
        """Hold both networks, which `fit_state` gave; tensors in no group are the first one's."""
        self._scorer, self._a, self._b, self._groups = scorer, a, b, groups
        self._scratch = {name: tensor.clone() for name, tensor in a.items()}
        self._written: list[float | None] = [0.0] * len(groups)
        self._equal = [all(torch.equal(a[name], b[name]) for name in names) for names in groups]
        self._known: dict[object, ExampleScores] = {}
        self._goals: dict[Shares, Statistics | None] = {}
        self.scored = 0

    def score(self, start: Shares, end: Shares, alpha: float) -> ExampleScores:
        """Score the network at a point of the line between two others.

        Args:
            start: shares at alpha = 0.
            end: shares at alpha = 1.
            alpha: 0 to 1.
        """
        start, end = self._distinct(start), self._distinct(end)
        shares = self._distinct(
            tuple(round((1 - alpha) * one + alpha * other, 12) for one, other in zip(start, end, strict=True))
        )
        between = self._scorer.recalibration == "repair" and shares not in (start, end)
        key = (start, end, alpha) if between else shares
        if key not in self._known:
            goals = self._between(start, end, alpha) if between else None
            self._write(shares)
            self._known[key] = self._scorer.recalibrated_score(self._scratch, goals)
            self.scored += 1
            if between:
                self._written = [None] * len(self._groups)
        return self._known[key]

    def score_shifted(
        self, shift: Mapping[str, torch.Tensor], alphas: Sequence[float], *, second: bool
    ) -> list[ExampleScores]:
        """Score one of the two networks with some tensors shifted, at several shares of the shift.

        Args:
            shift: by name, what is added at alpha = 1.
            alphas: shares of it.
            second: of the second network, not the first.
        """
        start = self._b if second else self._a
        end = {**start, **{name: start[name] + part.to(start[name]) for name, part in shift.items()}}
        line = ScoredLine(self._scorer, start, end, scratch=self._scratch)
        self._written = [None] * len(self._groups)
        self.scored += len(alphas)
        return [line.score(alpha) for alpha in alphas]

    def _distinct(self, shares: Shares) -> Shares:
        return tuple(0.0 if equal else share for share, equal in zip(shares, self._equal, strict=True))

    def _between(self, start: Shares, end: Shares, alpha: float) -> Statistics | None:
        """What REPAIR aims at between two networks."""
        for shares in (start, end):
            if shares not in self._goals:
                self._write(shares)
                self._goals[shares] = self._scorer.statistics(self._scratch)
        one, other = self._goals[start], self._goals[end]
        return None if one is None or other is None else blended_statistics(one, other, alpha)

    def _write(self, shares: Shares) -> None:
        """Bring the scratch copy's groups to their shares; where it was given away, all of it."""
        if None in self._written:
            for name, tensor in self._scratch.items():
                tensor.copy_(self._a[name])
            self._written = [0.0] * len(self._groups)
        for place, (share, names) in enumerate(zip(shares, self._groups, strict=True)):
            if share != self._written[place]:
                for name in names:
                    blend_into(self._scratch[name], self._a[name], self._b[name], share)
                self._written[place] = share
