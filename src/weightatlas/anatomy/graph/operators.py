"""What a call in an exported graph says: the operator's name, its arguments by name, the shapes of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch

SUBGRAPHS: Final = ("wrap_with_set_grad_enabled", "wrap_with_autocast", "hints_wrapper")
"""Operators that run a graph of their own."""


def bound_arguments(target: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """The arguments of a call by their names in the operator's schema, defaults included."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return {**{str(place): value for place, value in enumerate(arguments)}, **named}
    bound = {one.name: one.default_value for one in schema.arguments if one.has_default_value()}
    bound |= {one.name: value for one, value in zip(schema.arguments, arguments, strict=False)}
    return bound | dict(named)


def operator_name(target: Any) -> str:  # noqa: ANN401 - an operator
    """The operator's name in torch's `aten`, without the underscore of those that work in place."""
    schema = getattr(target, "_schema", None)
    name = schema.name.rpartition("::")[2] if schema is not None else getattr(target, "__name__", str(target))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else str(name)


def shape_of(value: object) -> tuple[int, ...] | None:
    """The shape of a tensor; None for all else, and where it is not fixed."""
    if not isinstance(value, torch.Tensor) or not all(isinstance(length, int) for length in value.shape):
        return None
    return tuple(value.shape)


def shapes_of(value: object) -> tuple[tuple[int, ...], ...]:
    """The shapes of what an operator gives, one for each output; empty where it gives no tensor."""
    found = [shape_of(one) for one in (value if isinstance(value, list | tuple) else [value])]
    return tuple(one or () for one in found) if any(one is not None for one in found) else ()
