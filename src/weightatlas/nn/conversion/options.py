"""What a conversion is asked for, in one value that is right or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from weightatlas.nn.conversion.norm_replacement import NormOptions
from weightatlas.nn.conversion.recipes import Recipe, parse_recipe
from weightatlas.nn.standardization import Standardization, find_standardization

STANDARDIZED: Final = ("followed", "all")
"""Which convolutions are standardised: those that a norm stands right behind, or all."""


@dataclass(frozen=True, slots=True)
class ConversionOptions:
    """A conversion as `convert` describes it.

    Attributes:
        recipe: what the convolutions and the norms become.
        how: the standardisation of the weights.
        norms: what the new norms are like.
        depthwise: whether depthwise convolutions are standardised.
        every: whether convolutions are that no norm is right behind.
    """

    recipe: Recipe
    how: Standardization
    norms: NormOptions
    depthwise: bool
    every: bool

    @classmethod
    def of(
        cls,
        recipe: str,
        *,
        groups: int = 32,
        depthwise: bool = False,
        standardized: str = "followed",
        how: Standardization | str = "timm",
        rate: float = 0.1,
        warmup: int = 0,
    ) -> Self:
        """Read the options of `convert`.

        Raises:
            ValueError: the recipe, or an option, is none.

        Example:
            >>> str(ConversionOptions.of("WS+GN", groups=16).recipe)
            'ws+gn'
        """
        parts = parse_recipe(recipe)
        way = find_standardization(how)
        if standardized not in STANDARDIZED:
            message = f"standardized={standardized!r} is unknown; there is {' and '.join(map(repr, STANDARDIZED))}"
            raise ValueError(message)
        return cls(
            parts,
            way if parts.weights in (None, "ws") else find_standardization(parts.weights),
            NormOptions(groups, rate, warmup),
            depthwise=depthwise,
            every=standardized == "all",
        )
