"""Which weights follow each other directly, so that the second reads the units of the first and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from weightatlas.anatomy.flow import ChannelFlow, FlowLayer
    from weightatlas.anatomy.layers import Layer


DEPTHWISE: Final = "it is depthwise: each unit reads one, and nothing is shared"
GROUPED: Final = "it is grouped: its groups are branches already, that nobody need look for"
"""Why what reads a layer hides no branches."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two weights, or the reason why the second has no partner.

    Attributes:
        first: the layer whose units are read; empty where there is no such layer.
        second: the layer that reads them.
        tensors: full names of the two weights.
        order: for each channel of the second, the unit of the first that it is; None is the same order.
        axes: the axis of either weight that counts its units: 0, or 1 where it is stored the other way.
        skipped: why the two cannot be compared, or None.
    """

    first: str
    second: str
    tensors: tuple[str, str] = ("", "")
    order: npt.NDArray[np.int64] | None = None
    axes: tuple[int, int] = (0, 0)
    skipped: str | None = None


def pairs_of_flow(flow: ChannelFlow) -> list[Pair]:
    """Every layer with the one layer whose units it reads, by the graph.

    A unit is made by the layer whose rows it is the output of. Sums of layers have no one maker: what reads a residual
    stream is skipped with that reason, as is what reads the input.
    """
    makers: dict[int, list[str]] = {}
    before: dict[str, FlowLayer] = {}
    rows: dict[tuple[str, int], int] = {}
    pairs = []
    seen = set()
    for layer in flow.layers:
        pair = _pair(layer, makers, rows, before)
        # A layer that is called again and reads the same units is the same test: it counts once.
        key = (pair.first, pair.second, pair.skipped, None if pair.order is None else pair.order.tobytes())
        if key not in seen:
            seen.add(key)
            pairs.append(pair)
        before[layer.layer] = layer
        for row, node in enumerate(layer.outputs.tolist()):
            if layer.layer not in makers.setdefault(node, []):
                makers[node].append(layer.layer)
            rows[layer.layer, node] = row
    return pairs


def _pair(
    layer: FlowLayer,
    makers: Mapping[int, Sequence[str]],
    rows: Mapping[tuple[str, int], int],
    before: Mapping[str, FlowLayer],
) -> Pair:
    nodes = layer.inputs.tolist()
    made = {tuple(makers.get(node, ())) for node in nodes}
    reason = _shared(made)
    if reason is not None:
        return Pair("", layer.layer, skipped=reason)
    first = next(iter(made))[0]
    tensors = (before[first].tensor, layer.tensor)
    if layer.groups > 1:
        reason = DEPTHWISE if layer.groups == len(nodes) else GROUPED
    elif not all(tensors):
        reason = "a weight of the two is computed from other parameters"
    if reason is not None:
        return Pair(first, layer.layer, skipped=reason)
    order = np.array([rows[first, node] for node in nodes], dtype=np.int64)
    return Pair(first, layer.layer, tensors, order, (before[first].unit_axis, layer.unit_axis))


def _shared(made: set[tuple[str, ...]]) -> str | None:
    """Why what is read has no one maker, from the makers of each unit; None where it has."""
    if () in made:
        return "it reads the input" if made == {()} else "some of what it reads could not be followed to its layer"
    if any(len(names) > 1 for names in made):
        return "it reads a sum of several layers, in which no unit is one layer's"
    if len(made) > 1:
        return f"it reads {len(made)} layers side by side; hidden branches are looked for between two"
    return None


def pairs_of_shapes(layers: Sequence[Layer]) -> list[Pair]:
    """Every weight with the one before it in the order of the file, where the channels fit.

    A guess: shapes do not say what is added or laid side by side. A weight whose channels are not the units of the one
    before, nor a whole multiple of them as behind a flattened map, is skipped.
    """
    pairs = []
    before: Layer | None = None
    for layer in layers:
        if layer.kind not in ("convolution", "linear") or len(layer.shape) < 2 or layer.skipped is not None:
            continue
        if before is None:
            pairs.append(Pair("", layer.layer, skipped="it reads the input"))
        elif layer.role == "depthwise":
            pairs.append(Pair(before.layer, layer.layer, skipped=DEPTHWISE))
        elif layer.role == "grouped":
            pairs.append(Pair(before.layer, layer.layer, skipped=GROUPED))
        else:
            pairs.append(_fitting(before, layer))
        before = layer
    return pairs


def _fitting(before: Layer, layer: Layer) -> Pair:
    units, channels = before.shape[0], layer.shape[1]
    tensors = (before.tensor, layer.tensor)
    if channels == units:
        return Pair(before.layer, layer.layer, tensors)
    if layer.kind == "linear" and before.kind == "convolution" and channels % units == 0:
        return Pair(before.layer, layer.layer, tensors, np.repeat(np.arange(units), channels // units))
    reason = f"its {channels} channels are not the {units} units of the weight before it; a --model tells what they are"
    return Pair(before.layer, layer.layer, skipped=reason)
