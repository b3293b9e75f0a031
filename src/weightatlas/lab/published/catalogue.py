"""All published recipes by name."""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.errors import SourceError
from weightatlas.lab.published.coco import coco_recipes
from weightatlas.lab.published.imagenet import imagenet_recipes
from weightatlas.lab.published.something import something_recipes
from weightatlas.lab.published.voc import voc_recipes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from weightatlas.lab.published.recipe import PublishedRecipe

PUBLISHED: Final[Mapping[str, PublishedRecipe]] = MappingProxyType(
    {recipe.name: recipe for recipe in (*imagenet_recipes(), *coco_recipes(), *voc_recipes(), *something_recipes())}
)
"""The recipes of ImageNet, COCO, PASCAL VOC and Something-Something."""


def open_recipe(name: str) -> PublishedRecipe:
    """The recipe of that name.

    Raises:
        SourceError: there is none; near names are given.

    Example:
        >>> recipe = open_recipe("voc-deeplabv3-resnet101-bcn-ws")
        >>> recipe.conversion, recipe.published[0].value, recipe.published[0].how_sure
        ('ws+bcn', 78.1, 'read in its source')
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    near = difflib.get_close_matches(name, PUBLISHED, n=3, cutoff=0.5)
    remedy = f"did you mean {', '.join(near)}?" if near else "see weightatlas.lab.published.PUBLISHED"
    raise SourceError(name[:80], "no published recipe", remedy)


def network(recipe: str, *, input_size: int | None = None, seed: int = 0) -> nn.Module:
    """The network of a recipe, its norms converted, as a name for `open_model`.

    `weightatlas.lab.published:network?recipe=voc-deeplabv3-resnet101-gn-ws`

    Args:
        recipe: its name.
        input_size: the side that a detector scales images to.
        seed: of its weights.

    Raises:
        SourceError: there is no such recipe.
        MissingDependencyError: torchvision or timm is not installed.
    """
    return open_recipe(recipe).build(input_size=input_size, seed=seed)
