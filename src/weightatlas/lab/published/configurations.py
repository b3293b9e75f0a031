"""A published recipe as a configuration of the lab, as far as the lab's loop can train it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.evaluation.user_code import is_code
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.published.recipe import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.lab.published.recipe import PublishedRecipe
    from weightatlas.lab.published.tasks import Kind

BATCHES: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "images": "the folder of ImageNet, with a sub-folder for each class below train and val",
        "clips": "package.module:callable, which gives (clips, classes): float32 (batch, 3, frames, height, width) "
        "and int64 (batch,)",
        "segmentation": "package.module:callable, which gives (images, classes): float32 (batch, 3, height, width) "
        "and int64 (batch, height, width)",
    }
)
"""What the lab's loop trains these on."""

CROPPED: Final = Augmentation(flip=True, scale=(0.08, 1.0), crop=224)
LOOP: Final = (
    "SGD has Nesterov's momentum in the lab's loop",
    "weights are standardised as timm does, not by the authors' program: conversion by name has one way",
)
"""What differs from any recipe when the lab trains it."""


def configuration_of(recipe: PublishedRecipe, data: str | None) -> Configuration:
    """Configure a run of a recipe in the lab's loop, from random weights.

    Where it differs from what was published, `differences` says so. Images of ImageNet are brought to 256 pixels, of
    which training cuts parts and evaluation the middle 224; clips and maps of classes come from the user's own code.

    Args:
        recipe: of a classifier or a segmenter.
        data: as `open_data` takes it; the training data and, after a comma, what is held out.

    Raises:
        SourceError: no data are named, or of another kind than the task needs; or the recipe trains a detector, whose
            losses come out of the network itself.
    """
    kind = recipe.task.kind
    if kind == "detection":
        problem = "the lab's loop trains what gives logits, and a detector gives its losses"
        remedy = f"train it yourself: weightatlas.lab.published.open_recipe({recipe.name!r}), its build() and step()"
        raise SourceError(recipe.name, problem, remedy)
    if data is None:
        raise SourceError(recipe.name, "this recipe needs data", f"give them: --data, {BATCHES[kind]}")
    training, _, held_out = (data, "", "") if Path(data).exists() else data.partition(",")
    if kind == "images":
        training, held_out = (name and _sized(name) for name in (training, held_out))
    elif wrong := [name for name in (training, held_out) if name and not is_code(name)]:
        raise SourceError(wrong[0][:200], f"no batches for {recipe.name}", f"give {BATCHES[kind]}")
    return Configuration(
        model=opened_as(recipe),
        data=training,
        held_out=held_out or None,
        recipe=_recipe(recipe),
        augmentation=CROPPED if kind == "images" else Augmentation(),
    )


def opened_as(recipe: PublishedRecipe) -> str:
    """The name by which `open_model` gives a recipe's network: a zoo's with its conversion, else the recipe itself.

    Example:
        >>> from weightatlas.lab.published import PUBLISHED
        >>> opened_as(PUBLISHED["imagenet-resnext101-gn-ws"])
        'timm:resnext101_32x4d?pretrained=false&convert=ws+gn'
        >>> opened_as(PUBLISHED["something-resnet50-gn"])
        'weightatlas.lab.published:network?recipe=something-resnet50-gn'
    """
    if recipe.zoo is None:
        return f"weightatlas.lab.published:network?recipe={recipe.name}"
    return recipe.zoo if recipe.conversion == UNCHANGED else f"{recipe.zoo}&convert={recipe.conversion}"


def differences(recipe: PublishedRecipe) -> tuple[str, ...]:
    """What a run of `configuration_of` does otherwise than what was published, one sentence each."""
    found = [*recipe.notes, LOOP[0]]
    if recipe.zoo is not None and "ws" in recipe.conversion:
        found.append(LOOP[1])
    if recipe.begins_with != "random weights":
        found.append(f"it begins with random weights, not with {recipe.begins_with}")
    if recipe.schedule == "poly":
        found.append("its learning rate falls as half a cosine, not as a polynomial; both end at zero")
    if recipe.task.kind == "segmentation":
        found.append("every pixel has a class: the lab's loop leaves none out")
    return tuple(found)


def _recipe(recipe: PublishedRecipe) -> Recipe:
    length = recipe.epochs or recipe.iterations
    return Recipe(
        steps=recipe.iterations,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        schedule="cosine" if recipe.schedule == "poly" else "step",
        warmup=0.0,
        milestones=tuple(milestone / length for milestone in recipe.milestones) if length else (),
        clip=recipe.clip,
        channels_last=recipe.task.kind != "clips",
    )


def _sized(name: str) -> str:
    return f"{name}{'&' if '?' in name else '?'}size=256&normalize=imagenet"
