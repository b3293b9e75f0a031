"""Units of all layers of a network: those that read the image by their kernels, deeper ones by what they expand to."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.anatomy.expanded import expanded_weights
from weightatlas.branching.measured import measured_tuning
from weightatlas.branching.pictures.kernels import kernel_images
from weightatlas.branching.pictures.visualization import visualize
from weightatlas.branching.surveying.units import LayerUnits, membership, reads_image
from weightatlas.branching.tuning import tuning
from weightatlas.errors import SourceError
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from weightatlas.anatomy.branches import Branching
    from weightatlas.anatomy.layers import Layer
    from weightatlas.branching.measured import MeasuredTuning
    from weightatlas.branching.surveying.network import Network

KINDS: Final = ("convolution", "linear")
DEEPER: Final = (
    "its channels are units, not colours: name it with --layer, and a --model, to tune it as it sees the image"
)
"""Why a layer that does not read the image has no tuning."""

COMPLEX: Final = "its numbers are complex; units are tuned by real ones"


def survey_units(
    network: Network,
    branchings: Sequence[Branching],
    deeper: Sequence[str],
    *,
    visualized: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[LayerUnits, ...]:
    """The units of every weight, in the order of the network.

    Args:
        network: weights, and the model they belong to where there is one.
        branchings: the branches that units may be in.
        deeper: layers that do not read the image and are tuned all the same; one in which branches are joined stands
            for their last weights.
        visualized: draw the units of these by feature visualisation, not by their expanded weights.
        seed: of these pictures and of the stimuli's null.
        progress: called as they are drawn.

    Raises:
        SourceError: a layer of `deeper` is not there, or there is no model to expand it through.
    """
    weights = [layer for layer in network.checkpoint.layers if layer.kind in KINDS and len(layer.shape) >= 2]
    deeper = _weights_of(deeper, branchings)
    _check(network, weights, branchings, deeper)
    asked = None
    if network.model is not None and deeper:
        asked = measured_tuning(network.model, list(deeper), seed=seed)
    members = membership(branchings)
    first = next((layer.tensor for layer in weights if layer.kind == "convolution"), "")
    found = []
    for layer in weights:
        joined, rows = members.get(layer.layer, ("", {}))
        names = tuple(rows.get(row) for row in range(layer.shape[0])) if rows else ()
        if reads_image(layer, first=layer.tensor == first):
            found.append(_by_kernels(network, layer, joined, names))
        elif layer.layer in deeper:
            units = _by_expansion(network, layer, joined, rows, asked)
            found.append(_pictured(network, units, seed, progress) if visualized else units)
        else:
            reason = layer.skipped or DEEPER
            found.append(LayerUnits(layer.layer, layer.tensor, layer.shape, names, joined, skipped=reason))
    return (*found, *_unreadable(network))


def _by_kernels(network: Network, layer: Layer, joined: str, names: tuple[str | None, ...]) -> LayerUnits:
    if layer.skipped is not None:
        return LayerUnits(layer.layer, layer.tensor, layer.shape, names, joined, skipped=layer.skipped)
    tensor = network.checkpoint[layer.tensor]
    if tensor.is_complex():
        return LayerUnits(layer.layer, layer.tensor, layer.shape, names, joined, skipped=COMPLEX)
    weight = tensor.float().numpy()
    return LayerUnits(
        layer.layer,
        layer.tensor,
        layer.shape,
        names,
        joined,
        by="kernel",
        tuning=tuning(weight),
        weights=weight,
        pictures=kernel_images(weight),
    )


def _by_expansion(
    network: Network,
    layer: Layer,
    joined: str,
    rows: Mapping[int, str],
    asked: MeasuredTuning | None,
) -> LayerUnits:
    if network.model is None:
        raise _no_model(network)
    expanded = expanded_weights(network.model, network.example, layer.layer)
    weight = np.asarray(expanded.weight, dtype=np.float32)
    return LayerUnits(
        layer.layer,
        layer.tensor,
        layer.shape,
        tuple(rows.get(row) for row in range(len(weight))) if rows else (),
        joined,
        by="expanded weights",
        tuning=tuning(weight),
        weights=weight,
        responses=None if asked is None else asked.layers.get(layer.layer),
        pictures=kernel_images(weight),
        unasked=None if asked is None else asked.skipped.get(layer.layer),
    )


def _pictured(network: Network, units: LayerUnits, seed: int, progress: Progress) -> LayerUnits:
    """The same units, drawn by what excites them most."""
    if network.model is None:
        raise _no_model(network)
    drawn = visualize(network.model, units.layer, range(units.units), seed=seed, progress=progress)
    return replace(units, pictures=drawn.images)


def _unreadable(network: Network) -> Iterator[LayerUnits]:
    for item in network.checkpoint.skipped:
        yield LayerUnits(item.name, item.name, (), skipped=item.reason)


def _weights_of(deeper: Sequence[str], branchings: Sequence[Branching]) -> list[str]:
    """Layers in which branches are joined become the weights that make their units."""
    joined = {branching.layer: [branch.layer for branch in branching.branches] for branching in reversed(branchings)}
    return list(dict.fromkeys(weight for layer in deeper for weight in joined.get(layer, [layer])))


def _check(network: Network, weights: Sequence[Layer], branchings: Sequence[Branching], deeper: Sequence[str]) -> None:
    """See that what is to be tuned deeper is there, and a model to do it with."""
    known = [layer.layer for layer in weights]
    names = [*known, *(branching.layer for branching in branchings)]
    source = network.checkpoint.source
    for layer in deeper:
        if layer not in known:
            near = difflib.get_close_matches(layer, names, n=3, cutoff=0.3)
            remedy = f"did you mean {' or '.join(near)}?" if near else "`weightatlas layers` lists the names it has"
            raise SourceError(source, f"it has no layer {layer!r}", remedy)
    if deeper and network.example is None:
        raise _no_model(network)


def _no_model(network: Network) -> SourceError:
    problem = "deeper layers are tuned through a model's graph"
    return SourceError(network.checkpoint.source, problem, "name the model: --model")
