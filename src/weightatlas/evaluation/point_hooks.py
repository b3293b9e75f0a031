"""Hooks on what goes into a module of a network or comes out of it, in whatever form that is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.outputs import output_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

INPUT: Final = "input"
"""The side of what goes in; the point that is a network's input."""

OUTPUT: Final = "output"
"""The side of what comes out; the point that is a network's output."""


@dataclass(frozen=True, slots=True)
class Place:
    """A side of a module.

    Attributes:
        module: of a network.
        side: "input", what goes into it, or "output", what comes out.
    """

    module: nn.Module
    side: Literal["input", "output"]


def hooked(
    place: Place, name: str, at: Callable[[str, torch.Tensor], torch.Tensor]
) -> torch.utils.hooks.RemovableHandle:
    """Have what is at a place go through a function.

    Args:
        place: a side of a module.
        name: of the place, for the function and in errors.
        at: takes the name and the tensor that is there, and gives what is put there.

    Returns:
        What ends it.
    """

    def entered(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        tensor = _first((*arguments, *named.values()))
        if tensor is None:
            raise SourceError(name, "no tensor goes into it", "name a module that takes one")
        new = at(name, tensor)
        given = tuple(new if each is tensor else each for each in arguments)
        return given, {key: new if each is tensor else each for key, each in named.items()}

    def left(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401 - what a module gives
        tensor = tensor_of(output)
        if tensor is None:
            raise SourceError(name, f"it gives a {type(output).__name__} without a tensor", "name another point")
        return exchanged(output, tensor, at(name, tensor))

    if place.side == INPUT:
        return place.module.register_forward_pre_hook(entered, with_kwargs=True)
    return place.module.register_forward_hook(left)


def tensor_of(output: Any) -> torch.Tensor | None:  # noqa: ANN401 - what a module gives
    """The tensor that what a module gives is about: `output_tensor`, or else the first tensor in it.

    Example:
        >>> tensor_of((torch.ones(1), torch.zeros(1)))
        tensor([1.])
    """
    answer = output_tensor(output)
    if answer is not None:
        return answer
    if isinstance(output, Mapping):
        return _first(tuple(output.values()))
    if is_dataclass(output):
        return _first(tuple(getattr(output, field.name) for field in fields(output)))
    return _first(tuple(output)) if isinstance(output, tuple | list) else None


def _first(parts: tuple[Any, ...]) -> torch.Tensor | None:
    return next((part for part in parts if isinstance(part, torch.Tensor)), None)


def exchanged(output: Any, old: torch.Tensor, new: torch.Tensor) -> Any:  # noqa: ANN401 - what a module gives
    """What a module gives with another tensor in the place of one."""
    if new is old:
        return output
    if output is old:
        return new
    if isinstance(output, dict):
        other = copy.copy(output)
        for key, part in output.items():
            if part is old:
                other[key] = new
        return other
    if is_dataclass(output) and not isinstance(output, type):
        held = {field.name: getattr(output, field.name) for field in fields(output)}
        return replace(output, **{key: new for key, part in held.items() if part is old})
    parts = [new if part is old else part for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
