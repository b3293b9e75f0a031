"""Small graphs to walk: what a function does to values, with layers of a few names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from weightatlas.anatomy.graph.channel_ids import Channels
from weightatlas.anatomy.graph.channel_walk import Walk, walk_graph
from weightatlas.anatomy.graph.exporting import export_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Called(nn.Module):
    """Layers by name, and a function of them and of the inputs."""

    def __init__(self, call: Callable[..., Any], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.call = call

    def forward(self, *inputs: torch.Tensor) -> Any:  # noqa: ANN401 - whatever the function gives
        return self.call(self, *inputs)


def walk_of(
    call: Callable[..., Any], *inputs: torch.Tensor | tuple[int, ...], **layers: nn.Module | nn.Parameter
) -> Walk:
    """Walk the graph of a function of a module and its inputs; a shape stands for zeros."""
    example = [one if isinstance(one, torch.Tensor) else torch.zeros(one) for one in inputs]
    return walk_graph(export_graph(Called(call, **layers), example))


def nodes_of(walk: Walk, result: int = 0) -> NDArray[np.int64]:
    """The nodes of a result, at its full shape."""
    value = walk.results[result]
    assert isinstance(value, Channels), value
    found: NDArray[np.int64] = walk.nodes.numbers()[value.expanded().numpy()]
    return found


def along_channels(walk: Walk, axis: int = 1, result: int = 0) -> list[int]:
    """The nodes of a result along one axis; everywhere else they are the same."""
    nodes = np.moveaxis(nodes_of(walk, result), axis, -1)
    rows = nodes.reshape(-1, nodes.shape[-1])
    assert (rows == rows[0]).all()
    return [int(node) for node in rows[0]]
