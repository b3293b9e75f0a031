"""Which axes of a model's input count units, by the first layer that reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import fx

_CONVOLUTION: Final = re.compile(r"(?:^|\.)_?conv(?:_transpose|_tbc|olution)?(\d)d|convolution")
_MATRIX: Final = re.compile(r"aten\.(linear|matmul|mm|bmm|addmm|einsum)\.")
_TURNED: Final = re.compile(r"aten\.(permute|transpose|movedim)\.")


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
    reached = {start}
    turned = False
    for node in graph.nodes:
        sources = [one for one in node.all_input_nodes if one in reached]
        if node.op != "call_function" or not sources:
            continue
        target = str(node.target)
        same = getattr(sources[0].meta.get("val"), "ndim", 0) == ndim
        if _CONVOLUTION.search(target):
            channels = min(1, ndim - 1) if turned or not same else ndim - _positions(target, ndim) - 1
            return (channels,)
        if _MATRIX.match(target):
            return (ndim - 1,) if same and not (turned and ndim == 4) else tuple(range(min(1, ndim - 1), ndim))
        turned = turned or _TURNED.match(target) is not None
        reached.add(node)
    return (min(1, ndim - 1),)


def _positions(target: str, ndim: int) -> int:
    match = _CONVOLUTION.search(target)
    return int(match[1]) if match is not None and match[1] else max(ndim - 2, 0)
