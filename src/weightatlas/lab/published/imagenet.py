"""ImageNet: ResNet and ResNeXt, 50 and 101 layers, with every norm of the papers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from weightatlas.lab.published.figures import PublishedFigure
from weightatlas.lab.published.networks import classifier
from weightatlas.lab.published.recipe import PublishedRecipe
from weightatlas.lab.published.tasks import Classification

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from weightatlas.lab.published.figures import Certainty, Metric

NETWORKS: Final[Mapping[str, str]] = {
    "resnet50": "torchvision:resnet50?pretrained=false&zero_init_residual=true",
    "resnet101": "torchvision:resnet101?pretrained=false&zero_init_residual=true",
    "resnext50": "torchvision:resnext50_32x4d?pretrained=false&zero_init_residual=true",
    "resnext101": "timm:resnext101_32x4d?pretrained=false",
}
"""By name, as `open_model` takes them: 32x4d, the last norm of each block beginning at 0, as in the authors' code."""

METHODS: Final[Mapping[str, str]] = {
    "bn": "bn",
    "gn": "gn",
    "gn-ws": "ws+gn",
    "gn-centred": "centred+gn",
    "gn-scaled": "scaled+gn",
    "bn-ws": "ws+bn",
    "bcn-ws": "ws+bcn",
}
"""Conversions by the end of a recipe's name; centred and scaled are the two halves of weight standardisation."""

ABLATED: Final = frozenset({"gn-centred", "gn-scaled"})
"""Published for ResNet-50 only."""

WS_README: Final = "README of joe-siyuan-qiao/pytorch-classification"
BCN_PAPER: Final = "Qiao and others, Micro-Batch Training with Batch-Channel Normalization and Weight Standardization"
WS_PAPER: Final = "Qiao and others, Weight Standardization"
READ: Final[Certainty] = "read in its source"
QUOTED: Final[Certainty] = "quoted by others"
RECALLED: Final[Certainty] = "recalled, not confirmed"

FIGURES: Final[Mapping[str, tuple[tuple[float, float | None, str, Certainty], ...]]] = {
    "resnet50-bn": ((24.30, None, WS_PAPER, QUOTED),),
    "resnet50-gn": (
        (24.81, None, WS_PAPER, QUOTED),
        (24.0, None, "README of ppwwyyxx/GroupNorm-reproduce: 24.0, 24.0 and 24.1 in three runs", READ),
    ),
    "resnet50-gn-ws": ((23.72, 6.99, WS_README, READ),),
    "resnet50-gn-centred": ((23.96, None, WS_PAPER, QUOTED),),
    "resnet50-gn-scaled": ((24.60, None, WS_PAPER, QUOTED),),
    "resnet50-bn-ws": ((23.76, None, WS_PAPER, QUOTED),),
    "resnet50-bcn-ws": ((23.09, 6.55, BCN_PAPER, RECALLED),),
    "resnet101-bn": ((22.44, None, WS_PAPER, RECALLED),),
    "resnet101-gn-ws": ((22.10, 6.07, WS_README, READ),),
    "resnet101-bn-ws": ((21.89, None, WS_PAPER, RECALLED),),
    "resnet101-bcn-ws": ((21.29, 5.60, BCN_PAPER, RECALLED),),
    "resnext50-bn": ((22.6, 6.29, "README of bearpaw/pytorch-classification", READ),),
    "resnext50-gn-ws": ((22.71, 6.38, WS_README, READ),),
    "resnext101-gn-ws": ((21.80, 6.03, WS_README, READ),),
}
"""Top-1 and top-5 error in per cent by network and method, with their source; what is not here we do not know."""

SIMULATED: Final = (
    "trained in large batches: a batch of one was simulated, which is exact because no norm looks at the batch"
)
LARGE: Final = "its batch norm sees the images of one device: the form for large batches"


def imagenet_recipes() -> tuple[PublishedRecipe, ...]:
    """Four networks times five methods, and the two halves of weight standardisation on ResNet-50.

    **Source:** commands of the README of joe-siyuan-qiao/pytorch-classification and of imagenet/README.md in
    joe-siyuan-qiao/Batch-Channel-Normalization, defaults of its imagenet.py: SGD without Nesterov, 0.1, momentum 0.9,
    weight decay 1e-4; ResNet-50 in batches of 256 for 90 epochs, the others of 128 for 100, at the same learning rate;
    four GPUs. Those are the commands for GN+WS and BCN+WS; we take them for every method, as the papers compare them.
    """
    return tuple(
        _recipe(network, method)
        for network in NETWORKS
        for method in METHODS
        if method not in ABLATED or network == "resnet50"
    )


def _recipe(network: str, method: str) -> PublishedRecipe:
    small = network == "resnet50"
    batch = 256 if small else 128
    notes = []
    if method.startswith("gn"):
        notes.append(SIMULATED)
    if method == "bcn-ws":
        notes.append(LARGE)
    return PublishedRecipe(
        name=f"imagenet-{network}-{method}",
        method=method,
        task=Classification(classes=1000, size=224),
        model=network,
        network=partial(_network, NETWORKS[network]),
        zoo=NETWORKS[network],
        conversion=METHODS[method],
        standardization="bcn2019" if method == "bcn-ws" else "qiao2019",
        batch_size=batch,
        images_per_device=batch // 4,
        learning_rate=0.1,
        epochs=90 if small else 100,
        milestones=(30, 60) if small else (30, 60, 90),
        input_size=(3, 224, 224),
        settings="commands and defaults of joe-siyuan-qiao/pytorch-classification and Batch-Channel-Normalization",
        notes=tuple(notes),
        published=_figures(f"{network}-{method}"),
    )


def _network(name: str, _side: int | None) -> nn.Module:
    return classifier(name)


def _figures(name: str) -> tuple[PublishedFigure, ...]:
    metrics: tuple[Metric, Metric] = ("top-1 error", "top-5 error")
    return tuple(
        PublishedFigure(metric=metric, value=value, source=source, how_sure=how_sure)
        for first, five, source, how_sure in FIGURES.get(name, ())
        for metric, value in zip(metrics, (first, five), strict=True)
        if value is not None
    )
