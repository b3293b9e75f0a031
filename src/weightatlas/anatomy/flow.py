"""Which unit reads which: every unit of a network as a node, followed through its graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightatlas.anatomy.graph.channel_ids import Channels
from weightatlas.anatomy.graph.channel_walk import walk_graph
from weightatlas.anatomy.graph.exporting import Example, export_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weightatlas.anatomy.graph.channel_walk import Walk


@dataclass(frozen=True, slots=True, eq=False)
class FlowLayer:
    """A layer by the nodes that it reads and those that it makes.

    Attributes:
        layer: module path.
        tensor: name of its weight in the state dict; empty where the weight is computed from parameters.
        inputs: int64 (in_channels,), the node of each channel that it reads, in the order of its weight. A node stands
            several times where a layer reads several positions of one channel.
        outputs: int64 (units,), the node of each of its units.
        groups: of a grouped convolution; group g of the units reads group g of the inputs.
        norm: module path of the batch norm right behind it, which nothing else reads; None without one.
        kernel: height and width of its kernels; (1, 1) for a matrix.
        unit_axis: the axis of the weight that counts units: 0, or 1 for transposed convolutions, embeddings and
            matrices that are stored as (in, out).
        first_row: the first of the weight's units that the layer has; above 0 where a module cuts its weight into parts
            and uses each on its own.
    """

    layer: str
    tensor: str
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    groups: int
    norm: str | None
    kernel: tuple[int, int]
    unit_axis: int
    first_row: int


@dataclass(frozen=True, slots=True, eq=False)
class ChannelFlow:
    """All units of a network, and who reads them.

    Attributes:
        nodes: how many there are; ids run from 0 in the order of execution.
        layers: in order of execution; one that is called twice stands twice, with the same nodes.
        inputs: int64, the node of each of the model's input channels, in order.
        outputs: int64, nodes of what the model gives.
        gates: int64 (pairs, 2), a node and one that is multiplied by it, unit by unit.
        notes: what could not be followed, a sentence each.
    """

    nodes: int
    layers: tuple[FlowLayer, ...]
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    gates: NDArray[np.int64]
    notes: tuple[str, ...]


def channel_flow(model: torch.nn.Module, example_inputs: Example) -> ChannelFlow:
    r"""Follow every channel of a network from the layer that makes it to the layers that read it.

    A node is a unit: a row of a convolution or a linear layer, a column of an embedding, a channel of the input. The
    graph of operators that `torch.export` gives is walked once:

    - a layer makes fresh nodes; a depthwise convolution too, whose unit c reads channel c;
    - activations, norms, pools and whatever treats channels alike keep them;
    - an operator that only moves values (views, permutations, slices, shuffles, repetitions) moves the nodes;
      flattening repeats a channel's node for each position;
    - a sum makes the nodes of both sides one, unit by unit (union-find), so that a residual stream has one set;
    - a concatenation lays them side by side;
    - a product keeps the nodes of what is scaled: a gate's stay apart and stand in `gates`. What is scaled is the
      larger value, else the one that no activation made, else the first;
    - attention keeps the nodes of its values;
    - what is read by the same weights at two positions is one node.

    Args:
        model: any module; it is exported in evaluation mode and left as it was.
        example_inputs: what to call it with, as `evaluation.example_inputs` gives it.

    Returns:
        Nodes and layers. Where an operator cannot be followed the layer behind it reads fresh nodes, and a note names
        the operator: a node is never one that the channel is not.

    Raises:
        SourceError: the model cannot be exported with these inputs.

    **Source:** the graph on which permutation symmetries are defined (Ainsworth, Hayase and Srinivasa, Git Re-Basin,
    2023), and clusterability (Filan and others, 2021) once residual streams are merged.

    Example:
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> flow = channel_flow(network, torch.zeros(1, 3, 4, 4))
        >>> flow.nodes, flow.layers[0].norm, flow.layers[0].outputs.tolist(), flow.layers[1].inputs.tolist()[:5]
        (9, '1', [3, 4, 5, 6], [3, 3, 3, 3, 4])
    """
    return flow_of(walk_graph(export_graph(model, example_inputs)))


def flow_of(walk: Walk) -> ChannelFlow:
    """The nodes of a walk, numbered."""
    numbers = walk.nodes.numbers()
    layers = tuple(
        FlowLayer(
            layer=read.layer,
            tensor=read.tensor,
            inputs=numbers[read.inputs.numpy()],
            outputs=numbers[read.outputs.numpy()],
            groups=read.groups,
            norm=read.norm,
            kernel=read.kernel,
            unit_axis=read.unit_axis,
            first_row=read.key[1],
        )
        for read in walk.reads
    )
    results = [value.ids for value in walk.results if isinstance(value, Channels)]
    return ChannelFlow(
        nodes=int(numbers.max()) + 1 if len(numbers) else 0,
        layers=layers,
        inputs=numbers[_flat(walk.inputs)],
        outputs=np.unique(numbers[_flat(results)]),
        gates=np.unique(numbers[torch.cat([*walk.gates, torch.zeros((0, 2), dtype=torch.long)]).numpy()], axis=0),
        notes=tuple(walk.notes),
    )


def _flat(ids: list[torch.Tensor]) -> NDArray[np.int64]:
    together: NDArray[np.int64] = torch.cat(
        [*(one.reshape(-1) for one in ids), torch.zeros(0, dtype=torch.long)]
    ).numpy()
    return together
