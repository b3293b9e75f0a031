"""Which of torch's functions are elementwise nonlinearities, by whatever name a network calls them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

NONLINEARITIES: Final = frozenset(
    {
        "celu",
        "elu",
        "gelu",
        "hardshrink",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "logsigmoid",
        "mish",
        "prelu",
        "relu",
        "relu6",
        "rrelu",
        "selu",
        "silu",
        "softplus",
        "softshrink",
        "softsign",
        "tanh",
        "tanhshrink",
        "threshold",
    }
)
"""Functions of one channel's values that decide which of them go on."""

GATES: Final = frozenset({"hardsigmoid", "sigmoid"})
"""Functions whose output multiplies another tensor: squeeze-and-excitation, gated units. They eliminate no channel."""

_WRITTEN_OUT: Final = re.compile(r"relu|gelu|silu|swish|mish|elu|tanh|softplus", re.IGNORECASE)
_SPELLED: Final = {"log_sigmoid": "logsigmoid"}
CLAMPS: Final = frozenset({"clamp", "clamp_min", "clip"})
"""Functions that are a nonlinearity of channels only where a layer made these: coordinates are clamped too."""

_BOUNDS: Final = {"clamp": ("min", "max"), "clip": ("min", "max"), "hardtanh": ("min_val", "max_val")}
_HARDTANH: Final = (-1.0, 1.0)


def function_name(function: Any) -> str:  # noqa: ANN401 - a function, a method, an operator of a graph
    """Give the plain name of one of torch's functions, in place or not, overloaded or not.

    Example:
        >>> import torch
        >>> function_name(torch.relu_), function_name(torch.ops.aten.relu.default), function_name(torch.Tensor.__add__)
        ('relu', 'relu', 'add')
    """
    name = str(getattr(function, "__name__", function)).partition(".")[0].strip("_")
    return _SPELLED.get(name, name)


def nonlinearity(name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> str | None:
    """Say which nonlinearity a call is, or None.

    A clamp or a hardtanh from 0 up is a relu, one from 0 to 6 a relu6; any other clamp is none.

    Args:
        name: of the function, as `function_name` gives it.
        arguments: of the call.
        named: its keyword arguments.

    Example:
        >>> nonlinearity("clamp", ("a tensor",), {"min": 0}), nonlinearity("hardtanh", ("a tensor", 0.0, 6.0), {})
        ('relu', 'relu6')
    """
    if name == "clamp_min":
        low = arguments[1] if len(arguments) > 1 else named.get("min")
        return "relu" if _is(low, 0) else None
    if name in _BOUNDS:
        defaults = _HARDTANH if name == "hardtanh" else (None, None)
        low, high = (
            arguments[place] if len(arguments) > place else named.get(bound, default)
            for place, (bound, default) in enumerate(zip(_BOUNDS[name], defaults, strict=True), start=1)
        )
        if _is(low, 0) and (high is None or _is(high, 6)):
            return "relu" if high is None else "relu6"
        return "hardtanh" if name == "hardtanh" else None
    return name if name in NONLINEARITIES else None


def written_out(module: nn.Module) -> str | None:
    """Name the nonlinearity that a module without parts is by its class, where its formula is the module's own.

    Such are transformers' `NewGELUActivation` and timm's `Swish`, whose parts (a tanh, a sigmoid) are no
    nonlinearities of their own; torch's own modules call torch's functions and need no name.

    Example:
        >>> class QuickGELUActivation(nn.Module): ...
        >>> written_out(QuickGELUActivation()), written_out(nn.GELU())
        ('quickgelu', None)
    """
    kind = type(module)
    name = kind.__name__
    if kind.__module__.startswith("torch.nn.") or next(module.children(), None) is not None:
        return None
    if not _WRITTEN_OUT.search(name) or name.lower().endswith("glu"):
        return None
    return name.lower().removesuffix("activation")


def _is(value: object, number: float) -> bool:
    return isinstance(value, int | float) and value == number
