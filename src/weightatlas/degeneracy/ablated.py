"""A network whose basis directions, or what goes from one to the next, are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.nn import functional

from weightatlas.evaluation.point_hooks import OUTPUT
from weightatlas.evaluation.scoring import in_full, logits_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from weightatlas.degeneracy.basis_run import BasisRun
    from weightatlas.degeneracy.point_basis import PointBasis

    Mask = npt.NDArray[np.bool_]

Metric = Literal["accuracy", "loss"]

TRIED = 10.0
"""How far beyond the largest activation it is tried out whether a part of a network is linear."""


def whole_score(run: BasisRun, metric: Metric) -> float:
    """How well the network does on the data as it is.

    Raises:
        ClassesError: it gives no logits for the targets.
    """
    last = run.basis.points[-1]
    return _scored(run, metric, lambda inputs: _finished(run, inputs, last, run.values(inputs, last)))


def score_with_edges(run: BasisRun, source: PointBasis, target: PointBasis, mask: Mask, metric: Metric) -> float:
    """How well it does where each direction of a point is computed from some directions of the one before alone.

    Directions of the later point that are computed from the same ones are computed in one pass.

    Args:
        run: the network and the data.
        source: the earlier point.
        target: the later one.
        mask: (k_target, k_source), which edges are kept.
        metric: of the output.
    """
    groups = [(torch.from_numpy(kept), torch.from_numpy(rows)) for kept, rows in _groups(mask)]
    matrix = linear_part(run, source, target)
    masked = None if matrix is None else matrix * torch.from_numpy(mask.T).to(matrix.device)

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        shown = source.represent(run.values(inputs, source))
        if masked is not None:
            return _finished(run, inputs, target, target.restore(_with_constant(shown @ masked.to(shown))))
        assembled: torch.Tensor | None = None
        for kept, rows in groups:
            values = source.restore(shown * kept.to(shown))
            reached = target.represent(run.points.onward(inputs, source.point, values, target.point).detach())
            assembled = torch.zeros_like(reached) if assembled is None else assembled
            picked = rows.to(reached.device)
            assembled[..., picked] = reached[..., picked]
        assert assembled is not None  # noqa: S101 - a mask has a row for the constant
        return _finished(run, inputs, target, target.restore(_with_constant(assembled)))

    return _scored(run, metric, outputs)


def linear_part(run: BasisRun, source: PointBasis, target: PointBasis) -> torch.Tensor | None:
    """What turns the directions of a point into those of the next where nothing but a linear layer is between.

    That is tried out, on values far larger than the network's own and of both signs, at which a ReLU or what saturates
    would show: what is at the later point must be, position by position, what the layer's weights make of the earlier
    one, and a bias. One product then serves all edges.

    Returns:
        float64 (k_source, k_target), or None where more is between.
    """
    weights = run.points.weights(source.point)
    if weights is None:
        return None
    inputs, _ = next(iter(run))
    values = run.values(inputs, source)
    drawn = torch.randn(values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tried = drawn.to(values) * TRIED * values.abs().max()
    ends = [run.points.onward(inputs, source.point, given, target.point).detach() for given in (tried, 0 * values)]
    reached, bias = (run.points.rows(target.point, each) for each in ends)
    if bias.shape[-1] != len(weights):
        return None
    wanted = run.points.rows(source.point, tried) @ weights.T + bias[0, 0]
    if reached.shape != wanted.shape or ends[0].ndim != values.ndim:
        return None
    scale = float(wanted.abs().max()) * 100 * torch.finfo(wanted.dtype).eps
    if not bool(((reached - wanted).abs() <= scale).all()):
        return None
    forth = torch.from_numpy(target.to_basis).to(weights.device)
    matrix = torch.from_numpy(source.from_basis[:, :-1]).to(forth) @ weights.double().T @ forth[:-1]
    matrix[0] += bias[0, 0].double() @ forth[:-1] + forth[-1]
    return matrix


def _with_constant(shown: torch.Tensor) -> torch.Tensor:
    """The same, its constant 1 again."""
    shown[..., 0] = 1
    return shown


def score_with_directions(run: BasisRun, point: PointBasis, kept: int, metric: Metric) -> float:
    """How well it does with the constant and the first few directions of a point alone."""

    def outputs(inputs: torch.Tensor) -> torch.Tensor:
        shown = point.represent(run.values(inputs, point))
        shown[..., kept + 1 :] = 0
        return _finished(run, inputs, point, point.restore(shown))

    return _scored(run, metric, outputs)


def _groups(mask: Mask) -> list[tuple[Mask, npt.NDArray[np.int64]]]:
    """The different rows of a mask, and where each stands; that of the constant is of no account."""
    kept, place = np.unique(mask[1:], axis=0, return_inverse=True)
    if not len(kept):
        return [(mask[0], np.zeros(1, dtype=np.int64))]
    return [(row, 1 + np.flatnonzero(place.ravel() == number)) for number, row in enumerate(kept)]


def _finished(run: BasisRun, inputs: torch.Tensor, point: PointBasis, values: torch.Tensor) -> torch.Tensor:
    """The network's output with these values at a point."""
    return values if point.point == OUTPUT else run.points.onward(inputs, point.point, values, OUTPUT).detach()


def _scored(run: BasisRun, metric: Metric, outputs: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Mean accuracy, or cross-entropy in nats, over the data's targets."""
    total, count = 0.0, 0
    for inputs, targets in run:
        given = outputs(inputs)
        logits = in_full(logits_of(given, targets))
        wanted = targets.to(logits.device)
        if metric == "accuracy":
            total += float((logits.argmax(1) == wanted).sum())
        else:
            total += float(functional.cross_entropy(logits, wanted, reduction="sum").double())
        count += targets.numel()
    return total / count
