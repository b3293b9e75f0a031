"""What the mode connectivity experiment measures of a pair: the line between its networks, in four ways, and layers."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.anatomy.symmetry import Symmetries, symmetries
from weightatlas.checkpoints import open_checkpoint
from weightatlas.connectivity.barrier import Barrier, barrier
from weightatlas.connectivity.forking import fork_geometry
from weightatlas.connectivity.layer_groups import layer_groups
from weightatlas.connectivity.layerwise import layer_barriers
from weightatlas.connectivity.matching import match
from weightatlas.connectivity.prediction import predicted_barriers
from weightatlas.connectivity.rank_agreement import rank_agreement
from weightatlas.evaluation import open_data, open_model
from weightatlas.evaluation.recalibration import has_batch_statistics
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    import torch
    from torch import nn

    from weightatlas.evaluation import Data
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

BATCH: Final = 256
"""Examples in a batch, of all that is measured."""

RECALIBRATED_ON: Final = 4
"""Batches of training data on which statistics are estimated anew."""

POINTS: Final = 11
"""Of a line, both ends counted."""

LAYERS_ON: Final = 128
"""Held-out examples on which layers are moved one by one, and on which their barriers are predicted: for each layer
that is four networks and four times two passes back and forth."""

FLAT: Final = 1e-4
"""Barriers below so many nats are rounding and the sample's luck: their logarithm is that of this."""

RESTARTS: Final = 3
WAYS: Final = tuple(product((False, True), repeat=2))
"""Matched or not, recalibrated or not: the four lines of a pair."""

SAID: Final = ("as they are", "recalibrated", "matched", "matched and recalibrated")
"""The same in words."""


def key_of(what: str, *, matched: bool, recalibrated: bool) -> str:
    """The name of a figure of one of the four lines.

    Example:
        >>> key_of("error_barrier", matched=True, recalibrated=False)
        'error_barrier_matched'
    """
    return what + "_matched" * matched + "_recalibrated" * recalibrated


def _line_measures(what: str, label: str, description: str) -> Iterator[Measure]:
    for (matched, recalibrated), said in zip(WAYS, SAID, strict=True):
        key = key_of(what, matched=matched, recalibrated=recalibrated)
        yield Measure(
            key, f"{label}, {said}", "number", compared=recalibrated, description=f"{description}; networks {said}"
        )


MEASURES: Final = (
    *_line_measures("barrier", "loss barrier", "the line's highest held-out loss above the chord, in nats"),
    *_line_measures("error_barrier", "error barrier", "the line's highest held-out error above the chord, 0 to 1"),
    Measure(
        "log_barrier",
        "log10 loss barrier, matched and recalibrated",
        description=f"nats; below {FLAT:g} counts as that",
    ),
    Measure(
        "matching_gain",
        "gain of matching",
        compared=True,
        description="loss barrier less that of the matched networks, both recalibrated",
    ),
    Measure(
        "recalibration_gain",
        "gain of recalibration",
        compared=True,
        description="loss barrier of the matched networks, less that with statistics estimated anew",
    ),
    Measure("similarity", "similarity", "number", description="cosine of both networks' parameters"),
    Measure("similarity_matched", "similarity, matched", "number", description="likewise, matched"),
    Measure(
        "similarity_null",
        "similarity by chance",
        "number",
        description="likewise, matched, the second network's entries shuffled within each tensor",
    ),
    Measure("distance", "distance", "number", description="of both networks' parameters"),
    Measure("distance_matched", "distance, matched", "number", description="likewise, matched"),
    Measure("angle", "angle", "number", description="at the fork, between the ways of both runs, in degrees"),
    Measure("travelled", "travelled", "number", description="mean distance of both runs from the fork"),
    Measure(
        "layer_rank",
        "rank agreement of layers",
        description="Spearman's rho of the measured and predicted rise half-way of single layers",
    ),
    Measure("layer_rank_p", "its p", "probability", description="against random orders, two-sided"),
    Measure("layer_largest", "largest barrier of a layer", "number", description="in nats, mean of both ways"),
    Measure("layer_largest_name", "which", "text", description="the layer of the largest barrier"),
)
"""The figures of each pair, the primary ones first."""


def measure_alone(run: Run) -> Measurement:
    """Measure a run on its own: nothing but what every run has."""
    del run
    return Measurement({})


def measure_together(partner: Run, own: Run) -> Measurement:
    """Measure two finished runs of one seed as a pair.

    The line from the partner's last weights to the run's is evaluated on held-out data at 11 points, four times: the
    networks as they are or the second one's units brought to the first one's by weight matching; batch norm's
    statistics interpolated, or estimated anew at every point on training data without augmentation. Networks without
    such statistics have the same barrier both ways. Layers of independent networks are moved one by one between the
    networks as they are, with nothing estimated anew, as the prediction by both ends' derivatives has it.

    Arrays: `line/alpha`, and for each of the four lines `line/loss...` and `line/error...`; `layers/name`,
    `layers/barrier`, `layers/rise` (half-way, below 0 where the loss sags) and `layers/predicted`, in the order of the
    layers.

    Raises:
        SourceError: a checkpoint or the data cannot be read.
        NotFiniteError: the loss of one of the two is not finite.
    """
    configuration = partner.configuration
    model = open_model(configuration.model, seed=configuration.seed)
    held_out = open_data(configuration.held_out or configuration.data, seed=configuration.seed, batch_size=BATCH)
    training = open_data(configuration.data, seed=configuration.seed, batch_size=BATCH)
    first, second = (dict(open_checkpoint(run.checkpoint)) for run in (partner, own))
    found = _symmetries(configuration.model, held_out.shape)
    matching = match(model, first, second, found, restarts=RESTARTS, nulls=1, seed=configuration.seed)
    figures: dict[str, Figure] = {
        "similarity": matching.similarity_before,
        "similarity_matched": matching.similarity,
        "similarity_null": float(np.mean(matching.null_similarity)),
        "distance": matching.distance_before,
        "distance_matched": matching.distance,
    }
    arrays: dict[str, npt.NDArray[Any]] = {}
    for matched, seconds in ((False, second), (True, matching.align(second))):
        lines = _lines(model, first, seconds, held_out, training)
        for recalibrated, line in lines.items():
            figures |= _figures(line, matched=matched, recalibrated=recalibrated)
            arrays |= _curves(line, matched=matched, recalibrated=recalibrated)
    gains = _derived(figures)
    fork = own.configuration.fork
    if fork is not None and fork.step is not None:
        return Measurement({**figures, **gains, **_since_the_fork(own, fork.step, first, second)}, arrays)
    layers, ranked = _layers(model, first, second, held_out)
    return Measurement({**figures, **gains, **layers}, {**arrays, **ranked})


@lru_cache(maxsize=8)
def _symmetries(model: str, shape: tuple[int, ...]) -> Symmetries:
    """What may change places in a network of that name; its weights do not matter."""
    import torch

    return symmetries(open_model(model), torch.zeros(2, *shape))


def _lines(
    model: nn.Module,
    first: Mapping[str, torch.Tensor],
    second: Mapping[str, torch.Tensor],
    held_out: Data,
    training: Data,
) -> dict[bool, Barrier]:
    """The line between two networks, without and with statistics estimated anew."""
    plain = barrier(model, first, second, held_out, points=POINTS, recalibrate=None)
    if not has_batch_statistics(model):
        return {False: plain, True: plain}
    anew = barrier(
        model,
        first,
        second,
        held_out,
        points=POINTS,
        recalibrate="batch-norm",
        recalibration_data=training,
        recalibration_batches=RECALIBRATED_ON,
    )
    return {False: plain, True: anew}


def _figures(line: Barrier, *, matched: bool, recalibrated: bool) -> dict[str, Figure]:
    return {
        key_of("barrier", matched=matched, recalibrated=recalibrated): line.loss_barrier.height,
        key_of("error_barrier", matched=matched, recalibrated=recalibrated): line.error_barrier.height,
    }


def _curves(line: Barrier, *, matched: bool, recalibrated: bool) -> dict[str, npt.NDArray[np.float64]]:
    return {
        "line/alpha": line.alphas,
        f"line/{key_of('loss', matched=matched, recalibrated=recalibrated)}": line.losses,
        f"line/{key_of('error', matched=matched, recalibrated=recalibrated)}": line.errors,
    }


def _derived(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """What matching and recalibration take from the loss barrier, and the order of magnitude of what is left."""
    anew, matched, both = (
        float(figures[key_of("barrier", matched=matched, recalibrated=recalibrated)] or 0.0)
        for matched, recalibrated in WAYS[1:]
    )
    left = math.log10(max(both, FLAT))
    return {"matching_gain": anew - both, "recalibration_gain": matched - both, "log_barrier": left}


def _layers(
    model: nn.Module, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor], held_out: Data
) -> tuple[dict[str, Figure], dict[str, npt.NDArray[Any]]]:
    """Barriers of single layers and what is predicted of them."""
    groups = layer_groups(model)
    measured = layer_barriers(
        model, first, second, held_out, recalibrate=None, cumulative=False, directions=0, examples=LAYERS_ON
    )
    predicted = predicted_barriers(model, first, second, held_out, groups, examples=LAYERS_ON)
    heights = {one.layer: one.barrier for one in measured}
    rises = {one.layer: one.midpoint for one in measured}
    agreement = rank_agreement(predicted, rises)
    largest = max(heights, key=lambda layer: -math.inf if math.isnan(heights[layer]) else heights[layer])
    figures: dict[str, Figure] = {
        "layer_rank": agreement.rho,
        "layer_rank_p": agreement.p_value,
        "layer_largest": heights[largest],
        "layer_largest_name": largest,
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "layers/name": np.array(list(heights)),
        "layers/barrier": np.array(list(heights.values()), dtype=np.float64),
        "layers/rise": np.array(list(rises.values()), dtype=np.float64),
        "layers/predicted": np.array([predicted[layer] for layer in heights], dtype=np.float64),
    }
    return figures, arrays


def _since_the_fork(
    own: Run, step: int, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]
) -> dict[str, Figure]:
    """How far, and at what angle, two runs went from their fork."""
    geometry = fork_geometry(open_checkpoint(RunFolder(own.folder).checkpoint(step)), first, second)
    return {"angle": math.degrees(geometry.angle), "travelled": (geometry.length_a + geometry.length_b) / 2}
