"""What Weight Banding's experiment measures of a run: the last two layers, and what reads the last map."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.banding import score, survey
from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.lab.interventions import intervene
from weightatlas.lab.last_map import find_last_map
from weightatlas.lab.records import MANIFEST
from weightatlas.lab.sample_images import trace_images
from weightatlas.nn import AllPositions, ColumnMeans, MapHead, RowMeans

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weightatlas.banding.layer import LayerBanding
    from weightatlas.lab.configuration import Configuration
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

PLACES: Final = ("penultimate", "last")
"""The two layers that are reported, always both: what leaves one may appear in the other."""


def _layer_measures(place: str) -> tuple[Measure, ...]:
    where = f"the {place} layer"
    return (
        Measure(f"{place}_layer", f"{place} layer", "layer", description=f"{where} with kernels larger than 1×1"),
        Measure(f"{place}_score", f"B, {place}", compared=True, description=f"banding score of {where}"),
        Measure(f"{place}_null_std", f"null of B, {place}", "number", description="spread of B under sign flips"),
        Measure(f"{place}_q_value", f"q, {place}", "probability", description="Benjamini-Hochberg over the layers"),
        Measure(f"{place}_direction", f"bands, {place}", "text", description="which way the bands run, judged by q"),
        Measure(f"{place}_slide_score", f"slides B, {place}", compared=True, description="B of the tissue slides"),
        Measure(f"{place}_row_share", f"R, {place}", "share", description="share of spatial variance between rows"),
        Measure(f"{place}_column_share", f"C, {place}", "share", description="share between columns"),
    )


MEASURES: Final = (
    *(measure for place in PLACES for measure in _layer_measures(place)),
    Measure(
        "shift",
        "|B|, the two apart",
        compared=True,
        description="penultimate less last: above 0 if the layer before bands more",
    ),
    Measure("classifier_score", "B, classifier", description="banding score of a classifier that sees all positions"),
    Measure("classifier_p_value", "p, classifier", "probability", description="its sign flips; few classes bound it"),
    Measure("classifier_row_share", "R, classifier", "share", description="share of its spatial variance between rows"),
    Measure("classifier_column_share", "C, classifier", "share", description="share between columns"),
    Measure("row_contrast", "classifier over y", "number", description="squared weights, heaviest row over lightest"),
    Measure("column_contrast", "classifier over x", "number", description="squared weights, heaviest column likewise"),
)
"""The figures of each run, in the order of the tables."""


def measure_banding(run: Run) -> Measurement:
    """Measure the bands of a finished run's last two layers, and what its classifier makes of the map it reads.

    The layers are the last two of `survey` in the order of the file: dense convolutions with square kernels larger
    than 1 x 1, tested together with all others of the network. "slide_score" is B of their tissue slides, "shift" is
    |B| of the penultimate layer less |B| of the last. A classifier that sees all positions is scored as a convolution
    with a kernel of the map's size: R is the share of its weights' spatial variance that lies between rows. Where it
    sees positions at all (no pooling, or pooling along one axis) its squared weights are summed over all else, which
    gives a profile over y, over x, or both; "contrast" is the heaviest share over the lightest.

    Arrays: `last/slides` and `penultimate/slides`, uint8 (units, h, w, 3), with `/order` and `/unit_scores`;
    `classifier/y` and `classifier/x`, shares that sum to 1.

    Raises:
        SourceError: the checkpoint cannot be read.
    """
    checkpoint = open_checkpoint(str(run.checkpoint))
    layers = [layer for layer in survey(checkpoint, jobs=1).scored if not layer.reads_map]
    figures: dict[str, Figure] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for place, layer in zip(reversed(PLACES), reversed(layers), strict=False):
        figures |= _layer_figures(place, layer)
        arrays |= _layer_arrays(place, layer)
    scores = [figures.get(f"{place}_score") for place in PLACES]
    if isinstance(scores[0], float) and isinstance(scores[1], float):
        figures["shift"] = abs(scores[0]) - abs(scores[1])
    read = map_reader(run)
    if read is not None:
        name, head = read
        weight = checkpoint[name]
        figures |= _classifier_figures(weight, head)
        for axis, profile in profiles(weight, head).items():
            arrays[f"classifier/{axis}"] = profile
            figures[{"y": "row_contrast", "x": "column_contrast"}[axis]] = _contrast(profile)
    return Measurement(figures, arrays)


def profiles(weight: torch.Tensor, head: MapHead) -> dict[str, npt.NDArray[np.float64]]:
    """Share of a classifier's squared weights at each row (y) and column (x) of the map that its head keeps.

    Args:
        weight: (classes, features), features in the head's order: the channel is the slowest index.
        head: what gives the features; one that keeps no position gives no profile.
    """
    sizes = {"y": head.height, "x": head.width}
    axes = {AllPositions: ("y", "x"), RowMeans: ("y",), ColumnMeans: ("x",)}.get(type(head), ())
    squares = weight.detach().double().cpu().square().reshape(-1, *(sizes[axis] for axis in axes)).sum(dim=0)
    found = {}
    for number, axis in enumerate(axes):
        mass = squares.sum(dim=[other for other in range(len(axes)) if other != number]) if len(axes) > 1 else squares
        found[axis] = (mass / mass.sum()).numpy()
    return found


def _classifier_figures(weight: torch.Tensor, head: MapHead) -> dict[str, Figure]:
    """The banding of a classifier that sees all positions of a map of several."""
    if not isinstance(head, AllPositions) or head.height != head.width or head.height == 1:
        return {}
    found = score(weight, feature_map=(head.channels, head.height, head.width))
    return {
        "classifier_score": found.score,
        "classifier_p_value": found.p_value,
        "classifier_row_share": found.row_share,
        "classifier_column_share": found.column_share,
    }


def _contrast(profile: npt.NDArray[np.float64]) -> float:
    """The heaviest share over the lightest; infinite where a row or column has no weight at all."""
    lightest = float(profile.min())
    return float(profile.max()) / lightest if lightest else math.inf


def map_reader(run: Run) -> tuple[str, MapHead] | None:
    """The weight of the fully connected layer that reads a run's last map, by name, and the head between the two.

    A network that flattens its map without a head, as AlexNet does, counts as one with all positions. None where the
    network does not show what reads its map. It is built again without values, as the run built it.
    """
    size = _image_size(run)
    model = _without_values(run.configuration, size)
    head: MapHead | None = None
    for name, module in model.named_modules():
        if isinstance(module, MapHead):
            head = module
        elif head is not None and isinstance(module, nn.Linear) and module.in_features == head.out_features:
            return f"{name}.weight", head
    return None if head is not None else _flattened_reader(model, size)


def _flattened_reader(model: nn.Module, size: int) -> tuple[str, MapHead] | None:
    """The fully connected layer that reads a square map position by position, and what stands for flattening it."""
    try:
        last = find_last_map(type(model).__name__, trace_images(model, type(model).__name__, size))
    except SourceError:
        return None
    reader = model.get_submodule(last.classifier)
    positions = reader.in_features // last.channels if isinstance(reader, nn.Linear) else 1
    side = math.isqrt(positions)
    if side == 1 or side * side != positions:
        return None
    return f"{last.classifier}.weight", AllPositions(last.channels, side, side)


def _without_values(configuration: Configuration, size: int) -> nn.Module:
    with torch.device("meta"):
        model = open_model(configuration.model, seed=configuration.seed)
        for name in configuration.interventions:
            model = intervene(model, name, input_size=size, seed=configuration.seed)
    return model


def _image_size(run: Run) -> int:
    """The side of the images that a run saw."""
    manifest = json.loads((run.folder / MANIFEST).read_text(encoding="utf-8"))
    return int(manifest["data"]["train"]["shape"][-1])


def _layer_figures(place: str, layer: LayerBanding) -> dict[str, Figure]:
    if layer.score is None:
        return {}
    return {
        f"{place}_layer": layer.layer,
        f"{place}_score": layer.score.score,
        f"{place}_null_std": layer.score.null_std,
        f"{place}_q_value": layer.q_value,
        f"{place}_direction": layer.direction,
        f"{place}_slide_score": layer.slide_score,
        f"{place}_row_share": layer.score.row_share,
        f"{place}_column_share": layer.score.column_share,
    }


def _layer_arrays(place: str, layer: LayerBanding) -> dict[str, npt.NDArray[Any]]:
    if layer.score is None or layer.slides is None:
        return {}
    return {
        f"{place}/slides": layer.slides.images,
        f"{place}/order": layer.slides.order,
        f"{place}/unit_scores": layer.score.unit_scores,
    }
