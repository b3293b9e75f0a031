"""The flow of channels that shapes alone suggest: each weight reads the one before it in the file, where it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightatlas.anatomy.flow import ChannelFlow, FlowLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from weightatlas.anatomy.layers import Layer


def weight_chain(layers: Sequence[Layer]) -> ChannelFlow:
    """Chain the convolutions and linear layers of a checkpoint in the order of its file.

    A layer reads the units of the one before it if it has as many channels, or, a linear layer behind a flattened map,
    a multiple of them, or, a grouped convolution, a part of them. Where it does not fit (behind a sum, a concatenation,
    a skipped connection) its channels are nodes of their own and a note says so. A batch norm right behind a layer in
    the file, with as many elements as the layer has units, is taken for its own.

    Args:
        layers: what `Checkpoint.layers` gives.

    Returns:
        A flow as a model's graph would give it; a guess, as its first note says.
    """
    notes = ["no model was given: each weight is taken to read the one before it in the file, where the channels fit"]
    chained: list[FlowLayer] = []
    before: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    nodes, unfit = 0, list[str]()
    weights = [place for place, layer in enumerate(layers) if _is_weight(layer)]
    for place in weights:
        layer = layers[place]
        units, channels = layer.shape[:2]
        inputs, groups = _inputs(before, layer)
        if inputs is None:
            if len(before):
                unfit.append(layer.layer)
            inputs = np.arange(nodes, nodes + channels)
            nodes += channels
        outputs = np.arange(nodes, nodes + units)
        nodes += units
        chained.append(
            FlowLayer(
                layer=layer.layer,
                tensor=layer.tensor,
                inputs=inputs,
                outputs=outputs,
                groups=groups,
                norm=_norm_behind(layers, place, units),
                kernel=(layer.shape[-2], layer.shape[-1]) if len(layer.shape) == 4 else (1, 1),
                unit_axis=0,
                first_row=0,
            )
        )
        before = outputs
    if unfit:
        notes.append(f"{len(unfit)} of {len(weights)} weights do not fit the one before and start anew: {_some(unfit)}")
    first = chained[0].inputs if chained else before
    return ChannelFlow(
        nodes=nodes,
        layers=tuple(chained),
        inputs=first,
        outputs=before,
        gates=np.empty((0, 2), dtype=np.int64),
        notes=tuple(notes),
    )


def _is_weight(layer: Layer) -> bool:
    return layer.kind in ("convolution", "linear") and len(layer.shape) >= 2 and layer.skipped is None


def _inputs(before: NDArray[np.int64], layer: Layer) -> tuple[NDArray[np.int64] | None, int]:
    """The nodes that a layer reads, None where it does not fit the units before it, and its groups."""
    units, channels = layer.shape[:2]
    if not len(before):
        return None, 1
    if channels == len(before):
        return before, 1
    if layer.kind == "linear" and channels % len(before) == 0:
        return np.repeat(before, channels // len(before)), 1
    groups = len(before) // channels
    if layer.role in ("grouped", "depthwise") and len(before) % channels == 0 and units % groups == 0:
        return before, groups
    return None, 1


def _norm_behind(layers: Sequence[Layer], place: int, units: int) -> str | None:
    """The batch norm between this weight and the next one, if it has as many elements as this has units."""
    for layer in layers[place + 1 :]:
        if _is_weight(layer):
            return None
        if layer.parameter == "running_var" and layer.shape == (units,):
            return layer.layer
    return None


def _some(names: Sequence[str], *, most: int = 3) -> str:
    """The first names, and that there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
