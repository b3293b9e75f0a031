"""The course of a run of the micro-batch experiment: its losses, channels and smoothness at every kept checkpoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.lab.plan import kept_steps, make_plan
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from weightatlas.conditioning.singularities import ChannelStatistics, Singularities
    from weightatlas.conditioning.smoothness import Smoothness
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

    Array = npt.NDArray[np.float64]

COURSE: Final = (
    "step",
    "images",
    "accuracy",
    "train_loss",
    "mean_distance",
    "std_distance",
    "dead",
    "near_dead",
    "loss_lipschitz",
    "gradient_lipschitz",
)
"""What is known of a run at every kept checkpoint."""


def kept(run: Run) -> tuple[int, ...]:
    """The updates after which a finished run has kept a checkpoint, in order."""
    configuration = run.configuration
    plan = make_plan(configuration.recipe, None if configuration.recipe.steps else 1)
    wanted = kept_steps(plan, configuration.keep, configuration.every)
    folder = RunFolder(run.folder)
    return tuple(step for step in sorted(wanted) if folder.checkpoint(step).is_file())


def course_arrays(
    run: Run,
    steps: Sequence[int],
    channels: Sequence[Singularities],
    smooth: Mapping[int, Smoothness | None],
) -> dict[str, npt.NDArray[Any]]:
    """What `COURSE` names, as arrays `course/...`, one entry a kept checkpoint, NaN where it was not measured.

    Args:
        run: a finished run.
        steps: its kept checkpoints.
        channels: at each of them.
        smooth: at those where the loss was walked on.
    """
    rows = RunFolder(run.folder).rows()
    accuracies = {row["step"]: row["test_accuracy"] for row in rows if "test_accuracy" in row}
    losses = {row["step"]: row["loss"] for row in rows if "loss" in row}
    columns: dict[str, list[float]] = {
        "accuracy": [accuracies.get(step, math.nan) for step in steps],
        "train_loss": [
            _mean([losses[step] for step in range(before + 1, after + 1) if step in losses])
            for before, after in zip((0, *steps), steps, strict=False)
        ],
    }
    means = [channel_figures(found) for found in channels]
    for key in ("mean_distance", "std_distance", "dead", "near_dead"):
        columns[key] = [found[key] for found in means]
    walks = [smooth.get(step) for step in steps]
    for key, figure in LIPSCHITZ.items():
        columns[key] = [math.nan if found is None else log10(figure(found)) for found in walks]
    arrays: dict[str, npt.NDArray[Any]] = {
        f"course/{key}": np.array(values, dtype=np.float64) for key, values in columns.items()
    }
    arrays["course/step"] = np.array(steps, dtype=np.int64)
    arrays["course/images"] = arrays["course/step"] * run.configuration.recipe.batch_size
    return arrays


LIPSCHITZ: Final[Mapping[str, Callable[[Smoothness], float | None]]] = {
    "loss_lipschitz": lambda found: found.relative_loss_lipschitz,
    "gradient_lipschitz": lambda found: found.relative_gradient_lipschitz,
}
"""Lengths are relative to the weights': standardised weights have no scale of their own."""


def channel_figures(found: Singularities) -> dict[str, float]:
    """The channels of a whole network: shares and distances over all of them, each channel alike.

    Distances are of the points that have a norm right before them; behind a sum there is none.
    """
    points = [point for point in found.points if point.skipped is None and point.channels]
    normed = [point for point in points if np.isfinite(point.normalized_mean).all()]
    return {
        "mean_distance": _rms(np.concatenate([point.normalized_mean for point in normed])) if normed else math.nan,
        "std_distance": _rms(np.concatenate([point.normalized_std - 1 for point in normed])) if normed else math.nan,
        "dead": _share(points, lambda point: point.dead),
        "near_dead": _share(points, lambda point: point.near_dead),
        "least_positive": min((point.least_positive for point in points), default=math.nan),
    }


def over_the_run(channels: Sequence[Singularities]) -> dict[str, Figure]:
    """The figures of the last checkpoint, and the mean distances over all after the first weights."""
    found = [channel_figures(one) for one in channels]
    later = found[1:] or found
    means = {f"{key}_mean": _mean([one[key] for one in later]) for key in ("mean_distance", "std_distance")}
    return {**found[-1], **means}


def log10(value: float | None) -> float:
    """The logarithm of a length or a rate; NaN where there is none, or it is 0 or below."""
    return math.log10(value) if value is not None and value > 0 and math.isfinite(value) else math.nan


def mean_of_finite(values: Sequence[float]) -> float:
    """The mean of those that are finite; NaN where none is."""
    return _mean([value for value in values if math.isfinite(value)])


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _share(points: Sequence[ChannelStatistics], share: Callable[[ChannelStatistics], float]) -> float:
    """The share of all channels of several points, of the shares of each."""
    count = sum(point.channels for point in points)
    return sum(share(point) * point.channels for point in points) / count if count else math.nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
