"""What the micro-batch experiment measures of a run: its answers, how smooth its loss is, which channels die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.conditioning.singularities import Singularities, singularities
from weightatlas.conditioning.smoothness import Smoothness, smoothness
from weightatlas.errors import MissingDependencyError, NotFiniteError
from weightatlas.evaluation import load_checkpoint, open_data, open_model
from weightatlas.evaluation.curvature import hessian_eigenvalues
from weightatlas.evaluation.mean_loss import first_examples
from weightatlas.evaluation.overlap import mean_overlap
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.lab.experiments.micro_batch_course import (
    LIPSCHITZ,
    course_arrays,
    kept,
    log10,
    mean_of_finite,
    over_the_run,
)
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.evaluation import Data
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

SHOWN: Final = 128
"""Held-out examples whose channels are looked at, at every kept checkpoint."""

WALKED: Final = 32
"""Training examples whose loss is walked on, likewise."""

BENT: Final = 16
"""Training examples, one batch, of whose loss the top Hessian eigenvalue is found, at the end."""

TOGETHER: Final = 16
"""Examples in a batch of those: batch norm's loss is that of its batches."""

WALKS: Final = 3
"""At how many of the kept checkpoints the loss is walked on, the last among them: a walk is ten gradients."""

STEPS, DRAWS = 2, 1
"""Of a walk: two lengths, and one random direction beside the gradient's."""

TOLERANCE: Final = 0.01
"""Of the eigenvalue's residual, relative to it."""

SCORES: Final = (
    Measure(
        "score",
        "score",
        "number",
        compared=True,
        description="held-out accuracy; of masks, mean intersection over union",
    ),
)
"""The primary measure."""

SMOOTHNESS: Final = (
    Measure(
        "loss_lipschitz",
        "log10 Lipschitz of the loss",
        compared=True,
        description="against the gradient, steps relative to the weights, mean of log10 over kept checkpoints",
    ),
    Measure(
        "gradient_lipschitz",
        "log10 Lipschitz of the gradient",
        compared=True,
        description="likewise of the gradient",
    ),
)
SINGULARITIES: Final = (
    Measure(
        "mean_distance",
        "distance of means from 0",
        "number",
        compared=True,
        description="rms of the channels' means before the norm's own affine, on held-out data, at the end",
    ),
    Measure(
        "std_distance",
        "distance of deviations from 1",
        "number",
        compared=True,
        description="rms of their deviations less 1",
    ),
    Measure(
        "near_dead",
        "nearly dead channels",
        "share",
        compared=True,
        description="positive before a nonlinearity in less than 5 % of places",
    ),
)
MEASURES: Final = (
    *SCORES,
    *SMOOTHNESS,
    *SINGULARITIES,
    Measure("dead", "dead channels", "share", description="positive in less than 0.1 % of places"),
    Measure("least_positive", "least positive", "share", description="P(x > 0) of the channel that is so least"),
    Measure("mean_distance_mean", "distance of means, over the run", "number", description="mean of kept checkpoints"),
    Measure("std_distance_mean", "distance of deviations, over the run", "number", description="likewise"),
    Measure(
        "top_eigenvalue", "log10 top Hessian eigenvalue", description="times the weights' squared length, at the end"
    ),
    Measure(
        "steepness",
        "log10 steepness beyond chance",
        description="of the loss against the gradient over random directions",
    ),
    Measure("centring", "centring's share of the gradient", "share", description="squared; mean over convolutions"),
    Measure("scaling", "scaling's share of the gradient", "share", description="likewise"),
    Measure("learning_rate", "learning rate", "number", description="the highest of the schedule"),
    Measure("batch", "batch", "integer", description="examples an update sees"),
    Measure("images", "images", "integer", description="that the run saw"),
)
"""The figures of each run, the primary ones first."""


def measure_micro_batch(run: Run) -> Measurement:
    """Measure a finished run: its answers, its channels over the run, its loss around the weights.

    Channels are looked at on the first held-out examples, in evaluation mode, at every kept checkpoint. The loss is
    walked on in training mode in batches of 16 (of the training data's first examples), so that batch norm's is the one
    that training saw, at the last three kept checkpoints; lengths are relative to the weights'. Layers' figures are
    joined with the weights of their channels.

    Arrays: `course/step`, `course/images`, `course/accuracy`, `course/train_loss` (mean since the checkpoint before),
    `course/mean_distance`, `course/std_distance`, `course/dead`, `course/near_dead`, `course/loss_lipschitz` and
    `course/gradient_lipschitz` (NaN where there is no walk), one a kept checkpoint; `channels/mean` and `channels/std`
    of every normalised channel at the end; `overlap/per_class` of masks.

    Raises:
        SourceError: the run's checkpoints or its data cannot be read.
    """
    configuration = run.configuration
    held_out = open_data(configuration.held_out or configuration.data, seed=configuration.seed)
    training = open_data(configuration.data, seed=configuration.seed, batch_size=TOGETHER)
    steps = kept(run)
    channels: list[Singularities] = []
    smooth: dict[int, Smoothness | None] = {}
    model = open_model(configuration.model, seed=configuration.seed)
    for step in steps:
        load_checkpoint(model, RunFolder(run.folder).checkpoint(step))
        channels.append(singularities(model, held_out, examples=SHOWN, resamples=0))
        if step in steps[-WALKS:]:
            smooth[step] = _walked(model, training)
    arrays = course_arrays(run, steps, channels, smooth)
    scored = _scored(run, model, held_out)
    figures = {
        **scored.figures,
        **over_the_run(channels),
        **_smoothness(list(smooth.values()), arrays),
        **_curvature(model, training),
    }
    return Measurement(figures, {**arrays, **scored.arrays, **_last_channels(channels[-1])})


def measure_score(run: Run) -> Measurement:
    """The score of a finished run, and no more: what learning rates are chosen by.

    Raises:
        SourceError: the run's checkpoint or its data cannot be read.
    """
    configuration = run.configuration
    model = open_model(configuration.model, seed=configuration.seed)
    load_checkpoint(model, run.checkpoint)
    return _scored(run, model, open_data(configuration.held_out or configuration.data, seed=configuration.seed))


def _scored(run: Run, model: torch.nn.Module, held_out: Data) -> Measurement:
    """How well the network of a run answers, and what it was trained with; of masks, how well each class."""
    recipe = run.configuration.recipe
    figures: dict[str, Figure] = {
        "score": run.test_accuracy,
        "learning_rate": recipe.learning_rate,
        "batch": recipe.batch_size,
        "images": run.steps * recipe.batch_size,
    }
    if next(iter(held_out))[1].ndim < 3:
        return Measurement(figures)
    overlap = mean_overlap(model, held_out)
    return Measurement({**figures, "score": overlap.mean}, {"overlap/per_class": overlap.per_class})


def _walked(model: torch.nn.Module, data: Data) -> Smoothness | None:
    """How smooth the loss of training is around the weights; None where it is not finite there."""
    try:
        return smoothness(model, data, examples=WALKED, training=True, steps=STEPS, draws=DRAWS, eigenvalues=0, tries=1)
    except NotFiniteError:
        return None


def _smoothness(walks: list[Smoothness | None], arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Figure]:
    """Means over the walks of a run; the shares of convolutions at the end."""
    found = [walk for walk in walks if walk is not None]
    if not found:
        return {}
    last = [term.terms.layer for term in found[-1].terms if term.terms is not None and term.terms.layer is not None]
    return {
        **{key: mean_of_finite(arrays[f"course/{key}"].tolist()) for key in LIPSCHITZ},
        "steepness": mean_of_finite([log10(_steepness(walk)) for walk in found]),
        "centring": mean_of_finite([layer.centring for layer in last]),
        "scaling": mean_of_finite([layer.scaling for layer in last]),
    }


def _steepness(walk: Smoothness) -> float | None:
    """The Lipschitz estimate of the loss against its gradient over the mean one in random directions."""
    chance = float(np.mean(walk.random_loss_lipschitz))
    return None if walk.loss_lipschitz is None or not chance else walk.loss_lipschitz / chance


def _curvature(model: torch.nn.Module, data: Data) -> dict[str, Figure]:
    """The top Hessian eigenvalue, where curvlinops is installed and the loss is finite."""
    try:
        found = hessian_eigenvalues(model, first_examples(data, BENT, torch.device("cpu")), tolerance=TOLERANCE)
    except (MissingDependencyError, NotFiniteError):
        return {}
    squared = sum(float(one.detach().double().square().sum()) for one in model.parameters() if one.requires_grad)
    return {"top_eigenvalue": log10(found.values[0] * squared)}


def _last_channels(found: Singularities) -> dict[str, npt.NDArray[Any]]:
    """Mean and deviation of every normalised channel, as on the paper's plane."""
    normed = [point for point in found.points if point.channels and np.isfinite(point.normalized_mean).all()]
    return {
        f"channels/{name}": np.concatenate([getattr(point, f"normalized_{name}") for point in normed])
        if normed
        else np.zeros(0)
        for name in ("mean", "std")
    }
