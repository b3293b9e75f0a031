"""Which of torch's functions multiply activations by a matrix, and what they multiply."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.degeneracy.accumulating.unfolding import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LINEAR: Final = Form("linear")
LINEAR_INPUTS_FIRST: Final = Form("linear", stored_inputs_first=True)
EMBEDDING: Final = Form("embedding", stored_inputs_first=True)

_CONVOLUTION: Final = re.compile(r"conv(?P<axes>[123])d")
_TRANSPOSED: Final = re.compile(r"conv_transpose(?P<axes>[123])d")


@dataclass(frozen=True, slots=True, eq=False)
class Multiplied:
    """One product of activations and a matrix.

    Attributes:
        form: how activations become rows; `stored_inputs_first` says how the weight would be, as the function takes it.
        inputs: the activations.
        weight, bias: what they are multiplied by, and what is added.
    """

    form: Form
    inputs: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None


def multiplied(name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    """Say what a call multiplies; None of one that multiplies nothing, or in a way that is not followed.

    Followed are linear maps, convolutions of one to three axes, plain and transposed, products with a matrix on the
    right, and embeddings that leave their table as it is, all of real numbers.

    Args:
        name: of the function, as `function_name` gives it.
        arguments: of the call.
        named: its keyword arguments.

    Example:
        >>> found = multiplied("linear", (torch.zeros(3, 2), torch.zeros(4, 2)), {})
        >>> found.form.kind, found.bias is None
        ('linear', True)
    """
    reader = _READERS.get(name)
    if reader is None:
        plain, transposed = _CONVOLUTION.fullmatch(name), _TRANSPOSED.fullmatch(name)
        if plain is None and transposed is None:
            return None
        reader = _convolution if plain else _transposed
    found = reader(arguments, named)
    if found is None or not isinstance(found.inputs, torch.Tensor) or not isinstance(found.weight, torch.Tensor):
        return None
    return None if found.inputs.is_complex() or found.weight.is_complex() else found


def _linear(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    given = _bound(("input", "weight", "bias"), arguments, named)
    return Multiplied(LINEAR, given["input"], given["weight"], given.get("bias"))


def _addmm(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    given = _bound(("input", "mat1", "mat2"), arguments, named)
    if any(named.get(factor, 1) != 1 for factor in ("alpha", "beta")):
        return None
    return Multiplied(LINEAR_INPUTS_FIRST, given["mat1"], given["mat2"], given["input"])


def _matmul(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    given = _bound(("input", "other"), arguments, {_MATRICES.get(name, name): value for name, value in named.items()})
    inputs, weight = given.get("input"), given.get("other")
    if not isinstance(inputs, torch.Tensor) or not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        return None
    return Multiplied(LINEAR_INPUTS_FIRST, inputs, weight, None)


def _embedding(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    given = _bound(("input", "weight", "padding_idx", "max_norm"), arguments, named)
    inputs, weight = given["input"], given["weight"]
    if torch.is_floating_point(inputs):  # the operator has them the other way round, and no norms
        inputs, weight = weight, inputs
    elif given.get("max_norm") is not None:
        return None
    return Multiplied(EMBEDDING, inputs, weight, None)


def _convolution(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = _bound(names, arguments, named)
    weight = given["weight"]
    kernel = tuple(weight.shape[2:])
    axes = len(kernel)
    stride, dilation = (_each(given.get(name, 1), axes) for name in ("stride", "dilation"))
    padding = given.get("padding", 0)
    if padding == "same":
        totals = [spread * (size - 1) for spread, size in zip(dilation, kernel, strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    else:
        pads = tuple((amount, amount) for amount in _each(0 if padding == "valid" else padding, axes))
    form = Form("convolution", int(given.get("groups", 1)), False, kernel, stride, dilation, pads)
    return Multiplied(form, _batched(given["input"], axes), weight, given.get("bias"))


def _transposed(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Multiplied | None:
    names = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    given = _bound(names, arguments, named)
    weight = given["weight"]
    kernel = tuple(weight.shape[2:])
    axes = len(kernel)
    spread, dilation = (_each(given.get(name, 1), axes) for name in ("stride", "dilation"))
    cut, more = (_each(given.get(name, 0), axes) for name in ("padding", "output_padding"))
    reach = [each * (size - 1) for each, size in zip(dilation, kernel, strict=True)]
    pads = tuple((each - less, each - less + extra) for each, less, extra in zip(reach, cut, more, strict=True))
    form = Form("convolution", int(given.get("groups", 1)), True, kernel, (1,) * axes, dilation, pads, spread)
    return Multiplied(form, _batched(given["input"], axes), weight, given.get("bias"))


def _bound(names: Sequence[str], arguments: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names, arguments, strict=False)), **named}


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis."""
    if isinstance(value, int):
        return (value,) * axes
    return tuple(map(int, value)) * (axes if len(value) == 1 else 1)


def _batched(inputs: torch.Tensor, axes: int) -> torch.Tensor:
    return inputs if inputs.ndim == axes + 2 else inputs[None]


_MATRICES: Final = {"mat2": "other", "tensor2": "other"}

_READERS: Final[dict[str, Callable[[tuple[Any, ...], Mapping[str, Any]], Multiplied | None]]] = {
    "linear": _linear,
    "addmm": _addmm,
    "matmul": _matmul,
    "mm": _matmul,
    "embedding": _embedding,
}
