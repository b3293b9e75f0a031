"""The loss on the plane through three networks, and the paths of trainings above it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64

from weightatlas.connectivity.plane_coordinates import PlaneCoordinates
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.mean_loss import Loss, classification_loss
from weightatlas.evaluation.recalibration import estimate_statistics, has_batch_statistics
from weightatlas.evaluation.states import StateOutputs
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

    from weightatlas.evaluation.batches import Batch

Array = np.ndarray

Recalibrate = Literal["auto", "batch-norm"] | None

EXAMPLES: Final = 512
"""That every loss is a mean over: a plane of 21 by 21 takes as long as 441 evaluations."""

SIZE: Final = 21
MARGIN: Final = 0.25
RECALIBRATION_BATCHES: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedRun:
    """A training's way as seen from above a plane.

    Attributes:
        steps: of its checkpoints.
        points: the nearest points of the plane, in its coordinates.
        off_plane: distance of each checkpoint from there. A picture shows a way well while it is short of the way
            itself; all of a space's directions but two are off the plane.
    """

    steps: Int64[Array, " checkpoints"]
    points: Float64[Array, "checkpoints 2"]
    off_plane: Float64[Array, " checkpoints"]


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The loss on the plane through three networks.

    Attributes:
        xs: coordinates along b - a, in the parameters' own units; 0 at a.
        ys: along what of c - a is orthogonal to it; above 0 at c.
        losses: at (y, x); NaN or infinite where the network's output is.
        points: coordinates of a, b and c.
        point_losses: at these.
        trajectories: projected, in the order given.
        recalibrated: "batch-norm" where statistics were estimated anew at every point, else None.
        examples: that losses are means over.
    """

    xs: Float64[Array, " size"]
    ys: Float64[Array, " size"]
    losses: Float64[Array, "size size"]
    points: Float64[Array, "3 2"]
    point_losses: Float64[Array, " 3"]
    trajectories: tuple[ProjectedRun, ...]
    recalibrated: str | None
    examples: int


def plane(
    model: nn.Module,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    c: Mapping[str, torch.Tensor],
    data: Iterable[Batch],
    *,
    size: int = SIZE,
    margin: float = MARGIN,
    recalibrate: Recalibrate = "auto",
    recalibration_data: Iterable[Batch] | None = None,
    recalibration_batches: int = RECALIBRATION_BATCHES,
    trajectories: Sequence[Iterable[tuple[int, Mapping[str, torch.Tensor]]]] = (),
    loss: Loss = classification_loss,
    examples: int | None = EXAMPLES,
    seed: int = 0,
    progress: Progress = silent,
) -> Plane:
    r"""Evaluate the loss on a grid of the plane through three networks.

    Orthonormal coordinates in the space of the floating-point parameters: \(e_1 = (b - a) / |b - a|\), \(e_2\) the part
    of c - a that is orthogonal to \(e_1\), over its length (Gram and Schmidt), the origin at a. The point (x, y) has
    the parameters a + s (b - a) + t (c - a) with that \(x e_1 + y e_2\); distances and angles on the picture are those
    of the space.

    Batch-norm statistics of a network in between fit no network, and are estimated anew at each point by default. Else
    they are blended like the parameters, with the same s and t; beyond the triangle a running variance might become
    negative, and is 0 there.

    A plane holds three points; that the way between two of them on it is high or low says nothing of ways that leave
    it. `barrier` gives heights with intervals.

    **Cost.** size^2 + 3 evaluations, each with `recalibration_batches` more where statistics are estimated. Three
    states and one scratch copy are held.

    Args:
        model: inputs to what `loss` takes; its own parameters do not count.
        a: state at the origin, by the model's names.
        b: state on the first axis.
        c: the third state.
        data: pairs of inputs and targets, held-out data best.
        size: points of the grid along each axis, two or more.
        margin: how far the grid goes beyond the three points, over their extent along each axis.
        recalibrate: "batch-norm", None, or "auto": batch-norm where the model has such statistics. REPAIR is of the two
            ends of a line, and has no meaning here.
        recalibration_data: what statistics are estimated on, training data best; None is `data`.
        recalibration_batches: of that, the first ones.
        trajectories: runs to project: what `open_trajectory` gives, or pairs of step and state.
        loss: of what the model gives and the targets; the mean over a batch.
        examples: how many at most, the first ones; None is all.
        seed: of what random layers draw.
        progress: called after each point.

    Returns:
        The grid, the three points, and the runs.

    Raises:
        ValueError: the three are on one line (two may be the same), or an option is out of range.
        SourceError: a state or the data do not fit the model.

    **Source:** Goodfellow and others, *Qualitatively Characterizing Neural Network Optimization Problems* (2015);
    Garipov and others, *Loss Surfaces, Mode Connectivity, and Fast Ensembling* (2018), for the plane of three; new
    statistics at each point are ours. Singh and others (2024) draw trainings down a mountainside so.

    Example:
        >>> class Bowl(torch.nn.Linear):
        ...     def forward(self, inputs):
        ...         return self.weight.square().sum() / 2 + 0 * inputs.sum()
        >>> corners = ([0.0, 0.0], [2.0, 0.0], [0.0, 2.0])
        >>> a, b, c = ({"weight": torch.tensor([corner])} for corner in corners)
        >>> found = plane(Bowl(2, 1, bias=False), a, b, c, [(torch.ones(1, 2),) * 2], size=3, loss=lambda out, _: out)
        >>> found.xs.tolist(), found.losses[1].tolist()
        ([-0.5, 1.0, 2.5], [0.625, 1.0, 3.625])
    """
    _check(size, margin, recalibrate)
    coordinates = PlaneCoordinates(model, a, b, c)
    outputs = StateOutputs(model, seed=seed)
    held = HeldBatches(data, examples=examples, device=outputs.device)
    again = None
    if recalibrate is not None and has_batch_statistics(model):
        source = data if recalibration_data is None else recalibration_data
        again = HeldBatches(source, batches=recalibration_batches, device=outputs.device)
    xs, ys = (_axis(values, size, margin) for values in coordinates.points.T)
    places = [*((x, y) for y in ys for x in xs), *coordinates.points]
    losses = []
    for number, (x, y) in enumerate(places, start=1):
        losses.append(_loss(outputs, coordinates.state(x, y), held, again, loss))
        progress(number, len(places), f"({x:.3g}, {y:.3g})")
    return Plane(
        xs=xs,
        ys=ys,
        losses=np.array(losses[:-3]).reshape(size, size),
        points=coordinates.points,
        point_losses=np.array(losses[-3:]),
        trajectories=tuple(_projected(coordinates, run) for run in trajectories),
        recalibrated=None if again is None else "batch-norm",
        examples=held.examples,
    )


def _check(size: int, margin: float, recalibrate: str | None) -> None:
    """Refuse options that mean nothing."""
    if size < 2 or not 0 <= margin < math.inf:
        message = f"size must be 2 at least and margin 0 or more, not {size} and {margin}"
        raise ValueError(message)
    if recalibrate not in ("auto", "batch-norm", None):
        message = f"recalibrate must be auto, batch-norm or None on a plane, not {recalibrate!r}"
        raise ValueError(message)


def _axis(values: Float64[Array, " 3"], size: int, margin: float) -> Float64[Array, " size"]:
    """Equal steps beyond the lowest and the highest value."""
    low, high = values.min(), values.max()
    beyond = margin * (high - low)
    return np.linspace(low - beyond, high + beyond, size)


def _loss(
    outputs: StateOutputs, state: dict[str, torch.Tensor], held: HeldBatches, again: HeldBatches | None, loss: Loss
) -> float:
    """The mean loss at a state, with statistics of its own where there are batches for that."""
    try:
        if again is not None:
            estimate_statistics(outputs, state, again)
        with outputs.ready():
            sums = [len(inputs) * float(loss(outputs(state, inputs), targets)) for inputs, targets in held]
    except NotFiniteError:  # a norm of ours refuses NaN
        return math.nan
    return sum(sums) / held.examples


def _projected(coordinates: PlaneCoordinates, run: Iterable[tuple[int, Mapping[str, torch.Tensor]]]) -> ProjectedRun:
    """A run from above; its checkpoints are opened one at a time."""
    steps, seen = [], []
    for step, state in run:
        steps.append(step)
        seen.append(coordinates.project(state))
    columns = np.array(seen, dtype=np.float64).reshape(-1, 3)
    return ProjectedRun(np.array(steps, dtype=np.int64), columns[:, :2], columns[:, 2])
