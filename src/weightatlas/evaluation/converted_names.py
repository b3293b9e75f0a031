"""The conversion in a model's name: `timm:resnet50?convert=ws+micro-bcn&convert.rate=0.02`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from weightatlas.checkpoints.zoo import parse_options
from weightatlas.errors import SourceError
from weightatlas.nn.conversion.options import ConversionOptions
from weightatlas.nn.convert import convert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

WORD: Final = "convert"
PREFIX: Final = f"{WORD}."
"""What the options of a conversion begin with, so that they are not taken for the model's own."""

_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = MappingProxyType(
    {
        "groups": ((int,), "a whole number"),
        "depthwise": ((bool,), "true or false"),
        "standardized": ((str,), "followed or all"),
        "how": ((str,), "the name of a standardisation"),
        "rate": ((int, float), "a number"),
        "warmup": ((int,), "a whole number"),
    }
)


@dataclass(frozen=True, slots=True)
class NamedConversion:
    """A conversion that a name asks for.

    Attributes:
        recipe: as `convert` takes it.
        options: its options, by their names there.
    """

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, model: nn.Module) -> nn.Module:
        """Convert a model in its place, and give it, or what takes its place."""
        return convert(model, self.recipe, in_place=True, **self.options).model


def conversion_apart(source: str) -> tuple[str, NamedConversion | None]:
    """Take `convert=RECIPE` and the options `convert.NAME=VALUE` out of a model's name.

    A plus sign in the recipe is one, not a blank. Everything is checked here, before a model is built or fetched.

    Returns:
        The name without them, and the conversion, or None where there is none.

    Raises:
        SourceError: there is no such recipe or option, its value means nothing, or there are options without a recipe.

    Example:
        >>> conversion_apart("timm:resnet50?convert=ws+gn&num_classes=10&convert.groups=16")
        ('timm:resnet50?num_classes=10', NamedConversion(recipe='ws+gn', options={'groups': 16}))
    """
    name, _, query = source.partition("?")
    parts = query.split("&") if query else []
    recipes = [unquote(part.partition("=")[2]) for part in parts if part.partition("=")[0] == WORD]
    options = [part.removeprefix(PREFIX) for part in parts if part.startswith(PREFIX)]
    rest = [part for part in parts if part.partition("=")[0] != WORD and not part.startswith(PREFIX)]
    plain = "?".join((name, *(["&".join(rest)] if rest else [])))
    if not recipes:
        if options:
            problem = f"{PREFIX}{options[0].partition('=')[0]} without a recipe"
            raise SourceError(source, problem, f"add the recipe, for instance {WORD}=ws+gn")
        return plain, None
    given = _typed(source, parse_options("&".join(options)))
    try:
        ConversionOptions.of(recipes[-1], **given)
    except ValueError as error:
        raise SourceError(source, str(error), f"write for instance ?{WORD}=ws+gn&{PREFIX}groups=16") from error
    return plain, NamedConversion(recipes[-1], given)


def _typed(source: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options, each of its type."""
    for name, value in given.items():
        if name not in _KINDS:
            near = difflib.get_close_matches(name, _KINDS, n=1, cutoff=0.5)
            remedy = (
                f"did you mean {PREFIX}{near[0]}?" if near else f"there is {', '.join(PREFIX + one for one in _KINDS)}"
            )
            raise SourceError(source, f"conversion has no option {name[:80]!r}", remedy)
        kinds, wanted = _KINDS[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            problem = f"{PREFIX}{name}={str(value)[:80]} is not {wanted}"
            raise SourceError(source, problem, f"give {PREFIX}{name} {wanted}")
    return given
