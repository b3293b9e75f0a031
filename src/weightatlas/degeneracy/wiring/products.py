"""Which calls multiply by weights of the network, and how units lie in those."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

    from weightatlas.degeneracy.wiring.calls import Call, Run

_CONVOLUTION: Final = re.compile(r"conv(_transpose)?([123])d")


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A call that multiplies by a weight.

    Attributes:
        inputs: what it multiplies.
        weight: name of the weight in the network; None where it was computed.
        bias: name of what is added; None where nothing is.
        is_plain: whether weight and bias are the network's own.
        axis: of the weight, along which the units lie that it makes; what it reads lies along the other of 0 and 1.
        groups: of a convolution.
        input_axis: of the inputs, along which the units lie that it reads.
        output_axis: of what it gives.
        is_matrix: whether it is no convolution.
    """

    inputs: torch.Tensor
    weight: str | None
    bias: str | None
    is_plain: bool
    axis: int
    groups: int
    input_axis: int
    output_axis: int
    is_matrix: bool


def product_of(call: Call, run: Run) -> Product | None:
    """Read a call; None where it multiplies by no weights."""
    places = _places(call)
    if places is None:
        return None
    inputs, weight, bias = (None if place is None else call.argument(*place) for place in places)
    name = run.name_of(call, weight)
    bias_name = None if bias is None else run.name_of(call, bias)
    if weight is None or inputs is None:
        return None
    if call.name in {"matmul", "mm", "addmm"} and (name is None or weight.ndim != 2):
        return None
    output = call.made[0][0]
    is_plain = name is not None and (bias is None or bias_name is not None)
    match = _CONVOLUTION.fullmatch(call.name)
    if match is None:
        axis = 0 if call.name == "linear" else 1
        return Product(inputs, name, bias_name, is_plain, axis, 1, inputs.ndim - 1, output.ndim - 1, is_matrix=True)
    groups = int(call.argument(6, "groups", 1))
    channels = inputs.ndim - int(match[2]) - 1
    axis = 1 if match[1] else 0
    is_plain = is_plain and not (axis and groups > 1)
    return Product(inputs, name, bias_name, is_plain, axis, groups, channels, channels, is_matrix=False)


def _places(call: Call) -> tuple[tuple[int, str] | None, ...] | None:
    """Where inputs, weight and bias stand among the arguments."""
    if call.name == "linear" or _CONVOLUTION.fullmatch(call.name):
        return (0, "input"), (1, "weight"), (2, "bias")
    if call.name in {"matmul", "mm"}:
        second = "other" if call.name == "matmul" else "mat2"
        return (0, "input"), (1, second), None
    if call.name == "addmm":
        scaled = any(call.named.get(key, 1) != 1 for key in ("alpha", "beta"))
        return None if scaled else ((1, "mat1"), (2, "mat2"), (0, "input"))
    return None
