"""Networks of timm and torchvision by name, pretrained or random."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from weightatlas.checkpoints.live import open_module
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.checkpoints.untrusted import summary
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.checkpoints.contents import Contents


def open_zoo(source: str) -> Contents:
    """List the weights of a zoo's network, such as "timm:resnet50" or "torchvision:vgg19?pretrained=false".

    Raises:
        SourceError: the zoo has no such network, does not take the options, or its weights cannot be had.
    """
    from dataclasses import replace

    contents = open_module(zoo_model(source))
    return replace(contents, format=source.partition(":")[0])


def zoo_model(source: str, *, seed: int = 0) -> nn.Module:
    """Build a zoo's network: "ZOO:NAME?option=value&...", `pretrained` true unless an option says false.

    Random weights come from `seed` and leave torch's generator as it was.

    Raises:
        SourceError: the zoo has no such network, does not take the options, or its weights cannot be had.
        MissingDependencyError: the zoo is not installed.

    Example:
        >>> type(zoo_model("torchvision:alexnet?pretrained=false&num_classes=10")).__name__
        'AlexNet'
    """
    zoo, _, rest = source.partition(":")
    name, _, query = rest.partition("?")
    options = parse_options(query)
    pretrained = options.pop("pretrained", True)
    if not isinstance(pretrained, bool):
        raise SourceError(source, f"pretrained={pretrained} is neither true nor false", "write ?pretrained=false")
    if zoo not in ZOOS:
        raise SourceError(source, f"no zoo {zoo!r}", f"there is {' and '.join(ZOOS)}")
    try:
        names, build = ZOOS[zoo]()
    except ImportError as error:
        raise MissingDependencyError(source, zoo, "zoo") from error
    if not names(name):
        near = difflib.get_close_matches(name, names(None), n=4, cutoff=0.5)
        raise SourceError(
            source, f"{zoo} has no network {name!r}", f"did you mean {', '.join(near)}?" if near else "check the name"
        )
    return _built(source, lambda: build(name, pretrained, options), seed, pretrained=pretrained)


def parse_options(query: str) -> dict[str, Any]:
    """The options after a question mark, typed: true, false, none, integers, numbers, else text.

    Example:
        >>> parse_options("pretrained=false&num_classes=10&act_layer=gelu")
        {'pretrained': False, 'num_classes': 10, 'act_layer': 'gelu'}
    """
    return {name: _typed(value) for name, value in parse_qsl(query, keep_blank_values=True)}


def _typed(text: str) -> bool | float | str | None:
    constants: dict[str, bool | None] = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _built(source: str, build: Callable[[], nn.Module], seed: int, *, pretrained: bool) -> nn.Module:
    import torch

    from weightatlas.checkpoints.places.downloads import quiet_downloads  # brings urllib, which a file needs not

    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), quiet_downloads():
            warnings.simplefilter("ignore")  # the zoos announce future defaults of networks they build themselves
            torch.manual_seed(seed)
            return build()
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        remedy = "check its options" + ("; what pretrained weights decide needs pretrained=false" if pretrained else "")
        raise SourceError(source, f"cannot be built ({summary(error)})", remedy) from error
    except Exception as error:
        if not pretrained:
            raise SourceError(source, f"cannot be built ({summary(error)})", "check its options") from error
        problem = f"its pretrained weights cannot be had ({summary(error)})"
        option = f"{'&' if '?' in source else '?'}pretrained=false"
        remedy = f"connect to the network once so that they are cached, or add {option} for random ones"
        raise SourceError(source, problem, remedy) from error


Names = Callable[[str | None], list[str]]
Build = Callable[[str, bool, dict[str, Any]], "nn.Module"]


def _timm() -> tuple[Names, Build]:
    import_torchvision()
    import timm

    def names(name: str | None) -> list[str]:
        if name is None:
            return list(timm.list_models())
        return [name] if timm.is_model(name.partition(".")[0]) or name.startswith(("hf-hub:", "hf_hub:")) else []

    def build(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
        return model

    return names, build


def _torchvision() -> tuple[Names, Build]:
    import_torchvision()
    from torchvision import models

    def names(name: str | None) -> list[str]:
        every = list(models.list_models())
        return every if name is None else [name for known in every if known == name]

    def build(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
        weights = options.pop("weights", "DEFAULT" if pretrained else None)
        extra = {"progress": False, **options}
        if not pretrained and "backbone" in str(models.get_model_builder(name).__annotations__):
            extra.setdefault("weights_backbone", None)
        model: nn.Module = models.get_model(name, weights=weights, **extra)
        return model

    return names, build


ZOOS: Final[dict[str, Callable[[], tuple[Names, Build]]]] = {"timm": _timm, "torchvision": _torchvision}
"""The zoos by the word before the colon: what imports one gives its names and its builder."""
