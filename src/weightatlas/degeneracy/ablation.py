"""Ablation: how few edges, or directions, a network needs to do as well as it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np

from weightatlas.degeneracy.ablated import Metric, score_with_directions, score_with_edges, whole_score
from weightatlas.degeneracy.basis_run import BasisRun
from weightatlas.degeneracy.fewest import fewest
from weightatlas.evaluation.point_hooks import OUTPUT
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import torch

    from weightatlas.degeneracy.interaction_basis import InteractionBasis
    from weightatlas.degeneracy.interactions import Interactions
    from weightatlas.degeneracy.point_basis import PointBasis
    from weightatlas.evaluation.batches import Batch

    Mask = npt.NDArray[np.bool_]

DROP = 0.001
"""What leaving out may cost by default: 0.1 points of accuracy (or as many nats)."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeAblation:
    """How few edges between two points are needed.

    Attributes:
        source: the earlier point.
        target: the later one.
        needed: the fewest of the strongest edges that keep the metric; None where even all of them do not (the basis
            has lost something that counts).
        total: edges there are, without those of constants, which are free.
        curve: float64 (tries, 2), edges kept and what the metric then was, by edges.
        mask: bool (k_target, k_source), exactly the edges of `needed` (all where that is None) and those from the
            constant, column 0.
        floor: strength of the weakest edge of `mask` that does not come from the constant; NaN where there is none.
        base: the metric of the network as it is.
        metric: "accuracy" or "loss".
        drop: of it that was allowed.
    """

    source: str
    target: str
    needed: int | None
    total: int
    curve: npt.NDArray[np.float64]
    mask: Mask
    floor: float
    base: float
    metric: Metric
    drop: float


@dataclass(frozen=True, slots=True, eq=False)
class NodeAblation:
    """How few directions of a point are needed.

    Attributes:
        point: its name.
        needed: the fewest of the most important directions that keep the metric; None where even all do not.
        total: directions there are, without the constant.
        curve: float64 (tries, 2), directions kept and what the metric then was.
        base: the metric of the network as it is.
        metric: "accuracy" or "loss".
        drop: of it that was allowed.
    """

    point: str
    needed: int | None
    total: int
    curve: npt.NDArray[np.float64]
    base: float
    metric: Metric
    drop: float


def edge_ablation(
    model: torch.nn.Module,
    data: Iterable[Batch],
    basis: InteractionBasis,
    interactions: Interactions,
    *,
    drop: float = DROP,
    metric: Metric = "accuracy",
    schedule: float = 8.0,
    examples: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> tuple[EdgeAblation, ...]:
    """Find how few of the strongest edges between each point and the next keep a network's accuracy.

    Each direction of the later point is computed from the directions of the earlier one that its kept edges come from,
    all others 0; from what comes of it at the later point this one direction is taken. The network runs on from these.
    Edges from the constant are always kept and are not counted. One pair of points is ablated at a time.

    Edges are kept by strength, ties in the order of the matrix. The fewest are found by `fewest`: the number found is
    enough, and one less is not.

    **Cost.** A pass of the network for each set of inputs that directions share, at each of about
    log2(edges) numbers.

    Args:
        model: a classifier; it is copied.
        data: pairs of inputs and targets that can be gone through again.
        basis: of its points, the last of which is "output" or leads there.
        interactions: of that basis.
        drop: how much accuracy may be lost, as a share; or how many nats may be added.
        metric: "accuracy", or "loss" (cross-entropy).
        schedule: factor between numbers of edges that are tried first.
        examples: of the data at most; None is all.
        dtype: what the copy computes in; None is its own precision.
        device: where it runs; None is where it is.
        progress: is told of pairs of points.

    Returns:
        One for each point and the next.

    Raises:
        SourceError: a point is not there.
        ClassesError: what the network gives are no logits for the targets.
        ValueError: an option is out of range, or the interactions are of other points.

    **Source:** edge ablation of *The Local Interaction Basis* (2024) and its public code (ApolloResearch/rib). The mask
    here is that of the number found, where theirs is of the last one tried.
    """
    Allowed(math.nan, drop, metric)
    run = BasisRun(model, data, basis, examples=examples, dtype=dtype, device=device)
    if [(one.source, one.target) for one in interactions.edges] != [(a.point, b.point) for a, b in run.pairs]:
        message = "the interactions are between other points than the basis has"
        raise ValueError(message)
    base = whole_score(run, metric)
    found = []
    for number, ((source, target), edges) in enumerate(zip(run.pairs, interactions.edges, strict=True), start=1):
        found.append(_ablated(run, (source, target), edges.strengths, Allowed(base, drop, metric), schedule))
        progress(number, len(run.pairs), source.point)
    return tuple(found)


def node_ablation(
    model: torch.nn.Module,
    data: Iterable[Batch],
    basis: InteractionBasis,
    *,
    drop: float = DROP,
    metric: Metric = "accuracy",
    schedule: float = 1.25,
    examples: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> tuple[NodeAblation, ...]:
    """Find how few of the most important directions of each point keep a network's accuracy.

    All other directions of the point are set to 0 (the constant stays), and the network runs on. One point at a time,
    without the output, whose directions are the answer itself.

    Args:
        model: a classifier; it is copied.
        data: pairs of inputs and targets that can be gone through again.
        basis: of its points.
        drop: how much accuracy may be lost, as a share; or how many nats may be added.
        metric: "accuracy", or "loss" (cross-entropy).
        schedule: factor between numbers of directions that are tried first.
        examples: of the data at most; None is all.
        dtype: what the copy computes in; None is its own precision.
        device: where it runs; None is where it is.
        progress: is told of points.

    Returns:
        One for each point that is not the output.

    Raises:
        SourceError: a point is not there.
        ClassesError: what the network gives are no logits for the targets.
        ValueError: an option is out of range.

    **Source:** as `edge_ablation`.
    """
    Allowed(math.nan, drop, metric)
    run = BasisRun(model, data, basis, examples=examples, dtype=dtype, device=device)
    base = whole_score(run, metric)
    points = [point for point in basis.points if point.point != OUTPUT]
    found = []
    for number, point in enumerate(points, start=1):
        measure = partial(score_with_directions, run, point, metric=metric)
        result = fewest(measure, Allowed(base, drop, metric).by, point.kept, schedule=schedule)
        found.append(NodeAblation(point.point, result.needed, point.kept, result.curve, base, metric, drop))
        progress(number, len(points), point.point)
    return tuple(found)


def _ablated(
    run: BasisRun,
    ends: tuple[PointBasis, PointBasis],
    strengths: npt.NDArray[np.float64],
    allowed: Allowed,
    schedule: float,
) -> EdgeAblation:
    """The fewest edges between two points."""
    inner = strengths[1:, 1:]
    ranks = np.empty(inner.size, dtype=np.int64)
    ranks[np.argsort(-inner, axis=None, kind="stable")] = np.arange(inner.size)

    def strongest(kept: int) -> Mask:
        mask = np.zeros(strengths.shape, dtype=np.bool_)
        mask[1:, 1:] = (ranks < kept).reshape(inner.shape)
        mask[:, 0] = True
        return mask

    def measure(kept: int) -> float:
        return score_with_edges(run, *ends, strongest(kept), allowed.metric)

    result = fewest(measure, allowed.by, inner.size, schedule=schedule)
    mask = strongest(inner.size if result.needed is None else result.needed)
    left = inner[mask[1:, 1:]]
    return EdgeAblation(
        source=ends[0].point,
        target=ends[1].point,
        needed=result.needed,
        total=inner.size,
        curve=result.curve,
        mask=mask,
        floor=float(left.min()) if left.size else math.nan,
        base=allowed.base,
        metric=allowed.metric,
        drop=allowed.drop,
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """What leaving out may do to a metric."""

    base: float
    drop: float
    metric: Metric

    def __post_init__(self) -> None:
        """See that it can be.

        Raises:
            ValueError: the drop is below 0, or there is no such metric.
        """
        if not self.drop >= 0 or self.metric not in get_args(Metric):
            message = f"drop is 0 or more and metric of {get_args(Metric)}, not {self.drop} and {self.metric!r}"
            raise ValueError(message)

    def by(self, value: float) -> bool:
        """Whether a figure is as good as the network's own, but for what may be lost and for rounding."""
        slack = self.drop + 1e-12 * max(abs(self.base), 1.0)
        return value >= self.base - slack if self.metric == "accuracy" else value <= self.base + slack
