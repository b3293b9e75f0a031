"""What a graph computes from parameters and constants alone, and which parameter it still is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.anatomy.graph.channel_ids import Constant, Value

if TYPE_CHECKING:
    from torch import fx

_SAME: Final = {"detach", "clone", "alias", "contiguous", "to", "_to_copy", "lift_fresh_copy", "type_as"}
_TURNS: Final = {"t", "transpose", "permute", "numpy_T", "mT", "swapaxes", "swapdims", "movedim", "moveaxis"}
_PARTS: Final = {"split", "split_with_sizes", "chunk", "slice", "narrow"}


def constants(name: str, node: fx.Node, values: list[Value], shapes: tuple[tuple[int, ...], ...]) -> Any:  # noqa: ANN401
    """What is computed from parameters and constants alone; a parameter with its axes in another order stays itself."""
    parameters = frozenset[str]().union(*(value.parameters for value in values if isinstance(value, Constant)))
    tensor: str | None = None
    axes: tuple[int, ...] = ()
    if len(values) == 1 and isinstance(values[0], Constant) and values[0].tensor is not None:
        order = axis_order(name, node, len(values[0].shape))
        if order is not None:
            tensor, axes = values[0].tensor, tuple(values[0].axes[axis] for axis in order)
        rows = _rows(name, node, values[0])
        if rows is not None:
            parts = [
                Constant(shape, parameters, values[0].tensor, values[0].axes, values[0].first_row + row)
                for row, shape in zip(rows, shapes, strict=True)
            ]
            return parts if isinstance(node.meta["val"], list | tuple) else parts[0]
    first_row = values[0].first_row if tensor is not None and isinstance(values[0], Constant) else 0
    made = [Constant(shape, parameters, tensor, axes, first_row) for shape in shapes]
    return made if isinstance(node.meta["val"], list | tuple) else made[0]


def _rows(name: str, node: fx.Node, value: Constant) -> list[int] | None:
    """The first row of each part that a stored matrix is cut into, if it is cut into runs of rows."""
    if name not in _PARTS or value.axes[:1] != (0,) or not callable(node.target):
        return None
    rows = torch.arange(value.shape[0]).reshape(-1, *[1] * (len(value.shape) - 1)).expand(value.shape)
    found = node.target(rows, *node.args[1:], **node.kwargs)
    parts = list(found) if isinstance(found, list | tuple) else [found]
    cut = [part.reshape(part.shape[0], -1)[:, 0] for part in parts if part.numel()]
    runs = len(cut) == len(parts) and all(bool((part.diff() == 1).all()) for part in cut)
    whole = all(part.shape[1:] == torch.Size(value.shape[1:]) for part in parts)
    return [int(part[0]) for part in cut] if runs and whole else None


def axis_order(name: str, node: fx.Node, axes: int) -> list[int] | None:
    """Which axis of its argument each axis of an operator's answer is, if it only orders them."""
    if name in _SAME:
        return list(range(axes))
    if name not in _TURNS or not callable(node.target):
        return None
    lengths = list(range(2, 2 + axes))
    turned = node.target(torch.empty(lengths, device="meta"), *node.args[1:], **node.kwargs)
    return [lengths.index(length) for length in turned.shape]
