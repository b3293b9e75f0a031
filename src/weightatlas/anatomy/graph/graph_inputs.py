"""Which axes of a model's input count units, by the first layer that reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.anatomy.graph.channel_constants import axis_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import fx

_CONVOLUTION: Final = re.compile(r"(?:^|\.)_?conv(?:_transpose|_tbc|olution)?(\d)d|convolution")
_MATRIX: Final = re.compile(r"aten\.(linear|matmul|mm|bmm|addmm|einsum)\.")
_RESHAPED: Final = re.compile(r"aten\.(view|reshape|_unsafe_view|pixel_\w+)\.")


def input_axes(graph: fx.Graph, inputs: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """The axes along which each of a model's floating-point inputs has a unit of its own.

    A convolution reads the axis before the positions; a linear layer the last one; one that reads the flattened input
    has a unit for each of the values of an example. What no layer reads has the second axis.
    """
    found: dict[str, tuple[int, ...]] = {}
    for node in graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if node.name in inputs and isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim:
            found[node.name] = _axes(graph, node, value.ndim)
    return found


def _axes(graph: fx.Graph, start: fx.Node, ndim: int) -> tuple[int, ...]:
    otherwise = min(1, ndim - 1)
    orders: dict[fx.Node, list[int] | None] = {start: list(range(ndim))}
    for node in graph.nodes:
        sources = [one for one in node.all_input_nodes if one in orders]
        if node.op != "call_function" or not sources:
            continue
        target = str(node.target)
        order = orders[sources[0]]
        if _CONVOLUTION.search(target):
            return (otherwise if order is None else order[ndim - _positions(target, ndim) - 1],)
        if _MATRIX.match(target):
            return tuple(range(otherwise, ndim)) if order is None else (order[-1],)
        orders[node] = _turned(node, target, sources[0], order)
    return (otherwise,)


def _turned(node: fx.Node, target: str, source: fx.Node, order: list[int] | None) -> list[int] | None:
    """Which axis of the input each axis of an operator's answer is; None where they are no longer the same axes."""
    shape, given = (getattr(one.meta.get("val"), "shape", ()) for one in (node, source))
    if order is None or len(shape) != len(order):
        return None
    if _RESHAPED.match(target):
        return order if shape == given else None
    turn = axis_order(target.split(".")[1], node, len(order)) if target.startswith("aten.") else None
    return order if turn is None else [order[axis] for axis in turn]


def _positions(target: str, ndim: int) -> int:
    match = _CONVOLUTION.search(target)
    return int(match[1]) if match is not None and match[1] else max(ndim - 2, 0)
