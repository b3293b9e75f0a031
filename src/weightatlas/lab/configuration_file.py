"""Configurations out of TOML files and nested mappings, each field checked before anything runs."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.untrusted import summary
from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.forking import Fork
from weightatlas.lab.kinds import frozen, other_kind

if TYPE_CHECKING:
    import os

TABLES: Final[Mapping[str, type[Recipe | Augmentation | Fork]]] = MappingProxyType(
    {"recipe": Recipe, "augmentation": Augmentation, "fork": Fork}
)
"""What stands in tables of its own."""

PLACES: Final = MappingProxyType(
    {item.name: f"[{key}]" for key, kind in TABLES.items() if kind is not Fork for item in fields(kind)}
    | {item.name: "no table, at the top" for item in fields(Configuration) if item.name not in TABLES}
)
"""Where each field stands in a file."""


def configuration_from(values: Mapping[str, Any], *, source: str = "configuration") -> Configuration:
    """Make a configuration of nested mappings, as `Configuration.to_dict` and TOML give them.

    Raises:
        SourceError: a field is missing, unknown (near names are given) or has no meaning.

    Example:
        >>> values = {"model": "timm:resnet18", "data": "scenes", "recipe": {"epochs": 2, "optimizer": "sgd"}}
        >>> configuration_from(values).recipe.optimizer
        'sgd'
    """
    check_fields(values, source=source)
    made = {
        key: _filled(TABLES[key], value, source, f"{key}.") if key in TABLES else value for key, value in values.items()
    }
    answer: Configuration = _filled(Configuration, made, source, "")
    return answer


def check_fields(values: Mapping[str, Any], *, source: str, others: Collection[str] = ()) -> None:
    """See that nested mappings hold known fields of the right kinds, each in its place; whether they fit is not asked.

    Args:
        values: some of the fields of a configuration.
        source: what a message names.
        others: what else may stand beside the tables, of any kind.

    Raises:
        SourceError: a field is unknown (near names are given), in the wrong table, or of another kind than declared.
    """
    for key, value in values.items():
        if key in TABLES:
            if not isinstance(value, dict):
                raise SourceError(source, f"{key} is no table", f"write its fields under [{key}]")
            for name, item in value.items():
                _check_field(TABLES[key], name, item, source, f"{key}.")
        elif key not in others or key in PLACES:
            _check_field(Configuration, key, value, source, "")


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Read a configuration from a TOML file: the fields of `Configuration`; [recipe], [augmentation], [fork].

    Raises:
        SourceError: it cannot be read, is no TOML, or a field is missing, unknown or has no meaning.
    """
    return configuration_from(read_toml(path), source=str(path))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SourceError: it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(path, error.strerror or "cannot be read", "name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(path, f"no TOML ({summary(error)})", "correct the line it names") from error


def _check_field(kind: type[Any], name: str, value: object, source: str, prefix: str) -> None:
    known = {item.name: item for item in fields(kind)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {prefix}{near[0]}?" if near else f"there is {', '.join(known)}"
        remedy = f"it stands under {PLACES[name]}" if name in PLACES else remedy
        raise SourceError(source, f"there is no field {prefix}{name[:80]}", remedy)
    what = other_kind(known[name], frozen(value))
    if what is not None:
        raise SourceError(source, f"{prefix}{name} must be {what}, not {value!r}"[:200], "correct it")


def _filled(kind: type[Any], values: Mapping[str, Any], source: str, prefix: str) -> Any:  # noqa: ANN401 - of that kind
    try:
        return kind(**{key: frozen(value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise SourceError(source, summary(error), f"correct {prefix.rstrip('.') or 'it'}") from error
