"""From the order in which Keras stores a kernel to torch's: (out, in, h, w), and (out, in) for all that is a matrix."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.layout import output_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.checkpoints.contents import Header

Order = tuple[tuple[int, ...] | None, tuple[int, ...] | None]
AS_STORED: Final[Order] = (None, None)
_EQUATION: Final = re.compile(r"([.\w]+),(\w+)->([.\w]+)")


@dataclass(frozen=True, slots=True)
class KernelKind:
    """What is known of the layer that a kernel belongs to.

    Attributes:
        depthwise: it convolves each channel alone; its kernel is (h, w, in, multiplier).
        table: it is looked up by row, (words, features), as torch has it.
        equation: the sum of an `EinsumDense`, or nothing.
    """

    depthwise: bool = False
    table: bool = False
    equation: str = ""


def kernel_order(parameter: str, shape: Sequence[int], kind: KernelKind) -> Order:
    """The permutation and the merged shape that give torch's order.

    A transposed convolution needs no rule of its own: Keras keeps its kernel as (h, w, out, in), torch as (in, out, h,
    w), and turning the axes round gives the one from the other.

    Example:
        >>> kernel_order("weight", (3, 5, 4, 2), KernelKind(depthwise=True))
        ((2, 3, 0, 1), (8, 1, 3, 5))
    """
    rank = len(shape)
    if parameter not in {"weight", "recurrent_weight"} or not 2 <= rank <= 5 or kind.table:
        return AS_STORED
    if kind.equation:
        return einsum_order(kind.equation, shape)
    if kind.depthwise and rank >= 3:
        *space, channels, multiplier = shape
        return (rank - 2, rank - 1, *range(rank - 2)), (channels * multiplier, 1, *space)
    return output_first(rank), None


def einsum_order(equation: str, shape: Sequence[int]) -> Order:
    """The order of an `EinsumDense` kernel as a matrix (out, in): outputs are the axes that the result has too.

    Example:
        >>> einsum_order("abc,cde->abde", (16, 4, 8))
        ((1, 2, 0), (32, 16))
    """
    found = _EQUATION.fullmatch(equation.replace(" ", ""))
    if found is None or len(found[2]) != len(shape) or len(set(found[2])) != len(shape):
        return AS_STORED
    outputs = [axis for axis, letter in enumerate(found[2]) if letter in found[3]]
    inputs = [axis for axis, letter in enumerate(found[2]) if letter not in found[3]]
    if not outputs or not inputs or any((letter in found[1]) == (letter in found[3]) for letter in found[2]):
        return AS_STORED
    merged = (math.prod(shape[axis] for axis in outputs), math.prod(shape[axis] for axis in inputs))
    axes = (*outputs, *inputs)
    return (None if axes == (0, 1) else axes), (None if len(shape) == 2 else merged)


def order_attention(headers: Sequence[Header]) -> list[Header]:
    """Take the kernels of multi-head attention as the matrices they are, heads merged.

    Query, key and value are stored (in, heads, features), the output projection (heads, features, out); they are told
    from a one-dimensional convolution's by standing together and by their shapes.
    """
    by_key = {header.key: header for header in headers}
    orders: dict[str, Order] = {}
    for key, output in by_key.items():
        block = key.removesuffix("attention_output.weight")
        query = by_key.get(f"{block}query.weight")
        if block == key or query is None or not len(query.shape) == len(output.shape) == 3:
            continue
        if query.shape[1] == output.shape[0]:
            heads, features, width = output.shape
            orders[key] = (2, 0, 1), (width, heads * features)
            for name in ("query", "key", "value"):
                orders |= _projection(by_key, f"{block}{name}")
    return [
        replace(header, axes=orders[header.key][0], merge=orders[header.key][1]) if header.key in orders else header
        for header in headers
    ]


def _projection(by_key: dict[str, Header], name: str) -> dict[str, Order]:
    orders: dict[str, Order] = {}
    weight, bias = by_key.get(f"{name}.weight"), by_key.get(f"{name}.bias")
    if weight is not None and len(weight.shape) == 3:
        orders[weight.key] = (1, 2, 0), (math.prod(weight.shape[1:]), weight.shape[0])
    if bias is not None and len(bias.shape) == 2:
        orders[bias.key] = (0, 1), (math.prod(bias.shape),)
    return orders
