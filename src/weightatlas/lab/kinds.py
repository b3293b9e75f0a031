"""Of what kind a field is: what flags and TOML files give is checked against its declaration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from weightatlas.lab.forking import Fork

if TYPE_CHECKING:
    from weightatlas.lab.configuration import Configuration, Recipe


def require(values: object, name: str, holds: bool, what: str) -> None:
    """Refuse a field that is not what it must be."""
    if not holds:
        message = f"{name} must be {what}, not {getattr(values, name)!r}"
        raise ValueError(message)


def require_kinds(values: Recipe | Configuration) -> None:
    """Refuse a field of another kind than it is declared."""
    for item in fields(values):
        what = other_kind(item, getattr(values, item.name))
        require(values, item.name, what is None, str(what))


def other_kind(item: Field[Any], value: object) -> str | None:
    """What a field must be, where a value is not of its kind; TOML does not know which it is to be."""
    declared, optional, _ = str(item.type).partition(" | None")
    holds, what = KINDS.get(declared, (None, ""))
    return None if holds is None or (optional and value is None) or holds(value) else what


def frozen(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Lists as tuples, at every depth."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(values: object) -> bool:
    return isinstance(values, tuple) and all(map(is_number, values))


def _are_names(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(name, str) for name in values)


KINDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = MappingProxyType(
    {
        "int": (lambda value: type(value) is int, "a whole number"),
        "float": (is_number, "a number"),
        "bool": (lambda value: type(value) is bool, "true or false"),
        "str": (lambda value: isinstance(value, str) and value != "", "a name"),
        "Rotate": (lambda value: isinstance(value, str), 'text in quotes, such as "90"'),
        "Fork": (lambda value: isinstance(value, Fork), "a fork: its step, and perhaps its seed"),
        "tuple[str, ...]": (_are_names, "a list of names"),
        "tuple[float, float]": (lambda value: _are_numbers(value) and len(value) == 2, "two numbers"),
        "tuple[float, ...]": (_are_numbers, "numbers"),
        "tuple[tuple[float, int], ...]": (lambda value: isinstance(value, tuple), "pairs of an epoch and a size"),
    }
)
