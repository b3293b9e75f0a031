"""What a walk over a graph writes down: layers that read channels, and values that are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from weightatlas.anatomy.graph.channel_ids import Value


@dataclass(slots=True, eq=False)
class Read:
    """A layer that reads channels: one weight, at one place of the graph.

    Attributes:
        layer: module path.
        tensor: name of its weight; empty where the weight is computed.
        inputs: ids of what it reads, in the order of the weight's input axis.
        outputs: ids of its units.
        groups: of a grouped convolution.
        kernel: height and width, 1 for what has none.
        unit_axis: which axis of the weight counts units.
        step: where it stands in the order of operators.
        key: the weight, by the first of its names and of its rows.
        norm: the batch norm right behind it.
    """

    layer: str
    tensor: str
    inputs: torch.Tensor
    outputs: torch.Tensor
    groups: int
    kernel: tuple[int, int]
    unit_axis: int
    step: int
    key: tuple[str, int]
    norm: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Two or more values that one operator joins.

    Attributes:
        step: the operator.
        parts: the values.
        ids: of the result, compact.
        axis: along which they are joined, for a concatenation.
    """

    step: int
    parts: tuple[Value, ...]
    ids: torch.Tensor
    axis: int = 0
