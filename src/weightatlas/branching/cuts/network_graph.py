"""A network as a graph: units are nodes, and an edge weighs as much as the kernel between two units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float32, Int64

from weightatlas.anatomy.layers import describe_tensors
from weightatlas.branching.cuts.weight_chain import weight_chain
from weightatlas.branching.hidden.kernel_norms import Norm, kernel_norms
from weightatlas.checkpoints import Checkpoint, TensorInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    import torch

    from weightatlas.anatomy.flow import ChannelFlow, FlowLayer

Array = np.ndarray

EPSILON: Final = 1e-5
"""What batch norm adds to a variance: torch's default, as checkpoints do not say."""

SOME: Final = 3
"""Names that a note lists."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GraphLayer:
    """The edges of one layer.

    Attributes:
        layer: module path.
        outputs: node of each unit, group by group.
        inputs: node of each channel it reads, group by group.
        weights: size of every kernel, non-negative, (groups, units / groups, channels / groups).
    """

    layer: str
    outputs: Int64[Array, " units"]
    inputs: Int64[Array, " channels"]
    weights: Float32[Array, "groups units_each channels_each"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NetworkGraph:
    """The units of a network and the sizes of the connections between them, without direction.

    Attributes:
        nodes: how many units there are, input channels among them; ids run from 0.
        layers: the edges, layer by layer. Two units may share several edges, whose sizes add.
        notes: what was merged, assumed or left out, one sentence each.
        source: what it is the graph of.
    """

    nodes: int
    layers: tuple[GraphLayer, ...]
    notes: tuple[str, ...] = ()
    source: str = "network"

    @property
    def edges(self) -> int:
        """How many kernels it has."""
        return sum(layer.weights.size for layer in self.layers)


def network_graph(
    state: Mapping[str, torch.Tensor] | Checkpoint,
    flow: ChannelFlow | None = None,
    *,
    norm: Norm = "l2",
    fold: bool = True,
    mean_one: bool = True,
    epsilon: float = EPSILON,
) -> NetworkGraph:
    r"""Make the graph of a network from its weights.

    Nodes are units, and the edge between two is as heavy as the kernel from one to the other,
    \(\|k_{oi}\|_2\) (of a matrix \(|w_{oi}|\)). With `fold` the rows of a layer with a batch norm right behind it are
    multiplied by \(|\gamma_o| / \sqrt{\sigma_o^2 + \epsilon}\). With `mean_one` each layer's edges are divided by their
    mean.

    A residual stream is one set of nodes: with a flow, units that are added to each other are merged.

    Args:
        state: a state dict, or an open checkpoint.
        flow: which unit reads which, as `channel_flow` gives it for a model; its tensors are looked up in `state`.
            Without one each weight is taken to read the one before it in the file, where the channels fit.
        norm: "l2" or "l1".
        fold: whether batch norms are folded into the weights before them.
        mean_one: whether layers are made equal in mean. Rectified networks compute the same when one layer is scaled
            up and the next down, and the clusters of a network should not hang on that.
        epsilon: of the batch norms.

    Raises:
        ValueError: no layer of the flow has its weight in `state`, or a weight's shape is not what the flow says, or
            it holds NaN or infinite values.

    **Source:** Filan et al., *Clusterability in Neural Networks* (2021): absolute weights, convolutions by the norm of
    their kernels, batch norms folded, layers of mean 1 for networks of ImageNet. They treat residual networks as
    layers without what skips them; here the stream is merged.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 4, 3))
        >>> graph = network_graph(model.state_dict())
        >>> graph.nodes, [layer.weights.shape for layer in graph.layers]
        (15, [(1, 8, 3), (1, 4, 8)])
    """
    info = _described(state)
    names = {(tensor.layer, tensor.parameter): tensor.name for tensor in info}
    flow = weight_chain(describe_tensors(info)) if flow is None else flow
    layers, unread, folded = [], [], []
    for read in _once(flow.layers):
        if read.tensor not in state:
            unread.append(read.layer)
            continue
        try:
            weights = _grouped_norms(state[read.tensor], read, norm)
        except ValueError as error:
            message = f"{read.layer}: {error}"
            raise ValueError(message) from error
        scales = _batch_norm(state, names, read.norm, epsilon) if fold and read.norm is not None else None
        if scales is not None:
            weights = weights * scales.reshape(*weights.shape[:2], 1)
            folded.append(read.layer)
        inputs, weights = _merged(read.inputs, weights, norm)
        if mean_one and weights.any():
            weights = weights / weights.mean()
        single = np.ascontiguousarray(weights, dtype=np.float32)
        layers.append(GraphLayer(layer=read.layer, outputs=read.outputs, inputs=inputs, weights=single))
    if not layers:
        message = "no graph: none of the layers has its weight among the tensors"
        raise ValueError(message)
    return NetworkGraph(
        nodes=flow.nodes,
        layers=tuple(layers),
        notes=(*flow.notes, *_notes(layers, unread, folded)),
        source=state.source if isinstance(state, Checkpoint) else "network",
    )


def _described(state: Mapping[str, torch.Tensor] | Checkpoint) -> list[TensorInfo]:
    """What is known of every tensor; names of a plain mapping are taken as they are."""
    if isinstance(state, Checkpoint):
        return list(state.info.values())
    described = []
    for name, tensor in state.items():
        layer, _, parameter = name.rpartition(".")
        dtype = str(tensor.dtype).removeprefix("torch.")
        nbytes = tensor.numel() * tensor.element_size()
        described.append(TensorInfo(name, layer or name, parameter, tuple(tensor.shape), dtype, nbytes, "state"))
    return described


def _once(layers: Sequence[FlowLayer]) -> Iterator[FlowLayer]:
    """Layers that read something, those that are called several times at the same nodes once."""
    seen = set()
    for layer in layers:
        key = (layer.tensor or layer.layer, layer.inputs.tobytes(), layer.outputs.tobytes())
        if len(layer.inputs) and key not in seen:
            seen.add(key)
            yield layer


def _grouped_norms(weight: torch.Tensor, read: FlowLayer, norm: Norm) -> Array:
    """Norms of the kernels, (groups, units / groups, channels / groups)."""
    units, channels, groups = len(read.outputs), len(read.inputs), read.groups
    norms = kernel_norms(weight, norm=norm, transposed=bool(read.unit_axis))
    # Grouped convolutions store what one group reads; transposed ones what one group makes.
    expected = (units // groups, channels) if read.unit_axis else (units, channels // groups)
    norms = norms[read.first_row :][: expected[0]]  # a module may cut one weight into several layers
    if norms.shape != expected:
        message = f"its weight joins {norms.shape} units and channels, the model's graph {expected}"
        raise ValueError(message)
    if read.unit_axis:
        return norms.reshape(units // groups, groups, channels // groups).swapaxes(0, 1)
    return norms.reshape(groups, units // groups, channels // groups)


def _batch_norm(
    state: Mapping[str, torch.Tensor], names: Mapping[tuple[str, str], str], layer: str, epsilon: float
) -> npt.NDArray[np.float64] | None:
    """What a batch norm multiplies each unit by; None where it keeps no statistics."""
    variance = names.get((layer, "running_var"), names.get((layer, "moving_variance")))
    if variance is None:
        return None
    scales = 1 / np.sqrt(np.maximum(state[variance].double().cpu().numpy(), 0) + epsilon)
    gamma = names.get((layer, "weight"), names.get((layer, "gamma")))
    if gamma is not None:
        scales = scales * np.abs(state[gamma].detach().double().cpu().numpy())
    factors: npt.NDArray[np.float64] = scales
    return factors


def _merged(inputs: npt.NDArray[np.int64], weights: Array, norm: Norm) -> tuple[npt.NDArray[np.int64], Array]:
    """One channel for each node: the positions of a flattened map that one unit fills are one kernel."""
    nodes, places = np.unique(inputs, return_inverse=True)
    if len(nodes) == len(inputs) or len(weights) > 1:
        return inputs, weights
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(len(nodes)))
    squares = weights[0][:, order] ** (2 if norm == "l2" else 1)
    sums = np.add.reduceat(squares, starts, axis=1)
    return nodes, (np.sqrt(sums) if norm == "l2" else sums)[None]


def _notes(layers: Sequence[GraphLayer], unread: Sequence[str], folded: Sequence[str]) -> Iterator[str]:
    """What a reader of the figures has to know."""
    makers = np.concatenate([np.unique(layer.outputs) for layer in layers])
    merged = int(np.count_nonzero(np.bincount(makers) > 1))
    if merged:
        yield f"{merged} nodes are made by several layers whose units are added: a residual stream is one set of nodes"
    if folded:
        yield f"batch norms are folded into {len(folded)} of {len(layers)} layers"
    if unread:
        named = ", ".join(unread[:SOME]) + (" ..." if len(unread) > SOME else "")
        yield f"{len(unread)} layers are left out, as their weights are not among the tensors: {named}"
