"""How two trainings that began as one come apart: side by side down one mountainside, or down two sides of a ridge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.checkpoints import Trajectory
from weightatlas.connectivity.barrier import Barrier, barrier
from weightatlas.errors import SourceError
from weightatlas.evaluation.mean_loss import wide
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    import torch
    from torch import nn

    from weightatlas.evaluation.batches import Batch

    State = Mapping[str, torch.Tensor]
    Run = Trajectory | Sequence[tuple[int, State]]

STATISTICS: Final = ("running_mean", "running_var")
"""Buffers that are no coordinates of the landscape: they follow from the weights and the data."""

POINTS: Final = 5
"""Of the line between two checkpoints: enough for a height beside others, not for the maximum."""


@dataclass(frozen=True, slots=True)
class ForkGeometry:
    """Where two networks lie, seen from the one that both come from.

    Attributes:
        distance: |a - b|, in the parameters' own units.
        length_a: |a - base|: how far the first one has come.
        length_b: |b - base|.
        cosine: of the angle between both ways, -1 to 1; NaN where one has not moved.
        norm_a: |a|.
        norm_b: |b|.
        norm_base: |base|.
        parameters: how many numbers these are lengths of.
    """

    distance: float
    length_a: float
    length_b: float
    cosine: float
    norm_a: float
    norm_b: float
    norm_base: float
    parameters: int

    @property
    def angle(self) -> float:
        """Between both ways, in radians: 0 to pi."""
        return math.acos(self.cosine)

    @property
    def chance_cosine(self) -> float:
        """The null: the cosine of two random directions is 0, with this deviation."""
        return 1 / math.sqrt(self.parameters)


@dataclass(frozen=True, slots=True, eq=False)
class ForkedPair:
    """Both runs at one step.

    Attributes:
        step: the same of both.
        geometry: seen from the fork.
        barrier: between both; None without data.
    """

    step: int
    geometry: ForkGeometry
    barrier: Barrier | None


def fork_geometry(base: State, a: State, b: State) -> ForkGeometry:
    r"""Measure how far two networks have come from a common one, how far apart they are, and at what angle.

    With the common point p, \(\cos = \langle a - p, b - p \rangle / (|a - p| |b - p|)\). Runs on one mountainside go
    down side by side: the angle is well below a right one, and they are closer to each other than each is to the fork.
    From a summit runs leave on different sides, at wide angles.

    Over all floating-point tensors but running means and variances, one at a time, summed in float64.

    **Null.** Two random directions of d numbers have cosine 0 with deviation \(1 / \sqrt{d}\) (`chance_cosine`). With
    millions of parameters every cosine that can be seen says that the runs have a direction in common.

    Args:
        base: the state at the fork.
        a: the state of one run.
        b: the state of the other.

    Raises:
        SourceError: a state lacks a tensor, shapes differ, or no tensor is floating-point.

    **Source:** Singh and others, *Landscaping Linear Mode Connectivity* (2024): distances, angles about the fork and
    norms along trainings. The null is ours.

    Example:
        >>> import torch
        >>> base, a, b = ({"weight": torch.tensor(place)} for place in ([0.0, 1.0], [3.0, 1.0], [0.0, 5.0]))
        >>> found = fork_geometry(base, a, b)
        >>> found.distance, found.length_a, found.length_b, found.cosine
        (5.0, 3.0, 4.0, 0.0)
    """
    sums, parameters = np.zeros(7), 0
    for name in base:
        start = base[name].detach()
        if not start.is_floating_point() or name.endswith(STATISTICS):
            continue
        one, other = (_read(state, name, start, whose) for state, whose in ((a, "first"), (b, "second")))
        sums += _products(start.to(wide(start)).flatten(), one, other)
        parameters += start.numel()
    if not parameters:
        which = "the state at the fork"
        raise SourceError(which, "it has no floating-point tensor", "give a state dict of weights")
    distance, length_a, length_b, norm_a, norm_b, norm_base = np.sqrt(sums[1:]).tolist()
    cosine = math.nan
    if length_a and length_b:
        cosine = min(1.0, max(-1.0, float(sums[0]) / (length_a * length_b)))
    return ForkGeometry(distance, length_a, length_b, cosine, norm_a, norm_b, norm_base, parameters)


def forked_pairs(
    one: Run,
    other: Run,
    *,
    base: State | None = None,
    model: nn.Module | None = None,
    data: Iterable[Batch] | None = None,
    points: int = POINTS,
    progress: Progress = silent,
    **options: Any,  # noqa: ANN401 - those of `barrier`
) -> tuple[ForkedPair, ...]:
    """Compare two runs at every step that both have: geometry about the fork, and the barrier between them.

    The barrier between checkpoints at equal times says which of two pictures holds. On one mountainside it is near zero
    all the way down, however far apart the runs are. Across a ridge it grows with the distance, from the first steps
    after the fork.

    Args:
        one: pairs of step and state in order, as `open_trajectory` gives them.
        other: of the other run.
        base: the state at the fork; None is the first common step's of the first run, which then is left out.
        model: to measure barriers with.
        data: to measure them on; both or neither.
        points: of each line, both ends counted.
        progress: called after each step.
        options: more of those that `weightatlas.connectivity.barrier` takes.

    Returns:
        One entry a common step.

    Raises:
        ValueError: only one of `model` and `data` is given.
        SourceError: the runs have no step in common but the fork, or a state does not fit.

    **Source:** Singh and others, *Landscaping Linear Mode Connectivity* (2024): the loss on segments between
    checkpoints at equal times.

    Example:
        >>> import torch
        >>> states = ([(step, {"weight": torch.tensor([step * side])}) for step in range(3)] for side in (1.0, -1.0))
        >>> [(pair.step, pair.geometry.distance) for pair in forked_pairs(*states)]
        [(1, 2.0), (2, 4.0)]
    """
    if (model is None) != (data is None):
        message = "barriers need both a model and data; give both, or neither"
        raise ValueError(message)
    steps, others = _steps(one), _steps(other)
    common = [step for step in steps if step in others]
    start = base if base is not None or not common else one[steps[common.pop(0)]][1]
    if start is None or not common:
        which = "the two runs"
        raise SourceError(which, "they have no step in common after the fork", "give checkpoints at equal steps")
    pairs: list[ForkedPair] = []
    for number, step in enumerate(common, start=1):
        a, b = one[steps[step]][1], other[others[step]][1]
        height = None
        if model is not None and data is not None:
            height = barrier(model, a, b, data, points=points, **options)
        pairs.append(ForkedPair(step, fork_geometry(start, a, b), height))
        progress(number, len(common), f"step {step:,}")
    return tuple(pairs)


def _steps(run: Run) -> dict[int, int]:
    """From the steps of a run to their places in it, without opening checkpoints."""
    known = run.steps if isinstance(run, Trajectory) else [step for step, _ in run]
    return {step: place for place, step in enumerate(known)}


def _read(state: State, name: str, start: torch.Tensor, whose: str) -> torch.Tensor:
    """One tensor of another state, as a wide vector on the device of the first.

    Raises:
        SourceError: there is none, or it has another shape.
    """
    which = f"the {whose} state"
    if name not in state:
        raise SourceError(which, f"it has no {name}, which the one at the fork has", _REMEDY)
    tensor = state[name].detach()
    if tensor.shape != start.shape:
        shapes = f"{name} is {list(tensor.shape)} where the one at the fork has {list(start.shape)}"
        raise SourceError(which, shapes, _REMEDY)
    return tensor.to(start.device, wide(start)).flatten()


def _products(start: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> npt.NDArray[np.float64]:
    """The product of both ways, and squares: apart, both ways, both vectors, the common one."""
    way, other_way, apart = one - start, other - start, one - other
    squares = (part @ part for part in (apart, way, other_way, one, other, start))
    return np.array([float(way @ other_way), *map(float, squares)])


_REMEDY: Final = "give three states of one network"
