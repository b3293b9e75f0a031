"""Something-Something: a ResNet-50 that shifts channels along time. No published figure could be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.published.recipe import PublishedRecipe
from weightatlas.lab.published.tasks import Classification
from weightatlas.lab.published.temporal_shift import FRAMES, ShiftedResNet50

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

METHODS: Final[Mapping[str, str]] = {"bn": "bn", "gn": "gn", "gn-ws": "ws+gn", "bcn-ws": "ws+bcn"}
CLASSES: Final = 174
NOTES: Final = (
    "network and settings are those of the temporal shift module; the paper is recalled to use it, and was not read",
    "its learning rates differ by kind of parameter, ours do not",
)


def something_recipes() -> tuple[PublishedRecipe, ...]:
    """Clips of eight frames, 174 classes: BN, GN, GN+WS and BCN+WS, without a figure.

    **Source:** README of mit-han-lab/temporal-shift-module, "To train on Something-Something": .01 for batches of 64,
    50 epochs, a tenth after 20 and 40, gradients clipped at 20, dropout .5, from ImageNet weights; weight decay 5e-4 is
    the default of its opts.py. Which of it the
    paper changed for one or two clips a GPU we do not know.
    """
    return tuple(_recipe(method, conversion) for method, conversion in METHODS.items())


def _recipe(method: str, conversion: str) -> PublishedRecipe:
    return PublishedRecipe(
        name=f"something-resnet50-{method}",
        method=method,
        task=Classification(classes=CLASSES, size=224, frames=FRAMES),
        model="resnet50 with a temporal shift",
        network=_network,
        conversion=conversion,
        batch_size=64,
        images_per_device=None,
        learning_rate=0.01,
        weight_decay=5e-4,
        clip=20.0,
        epochs=50,
        milestones=(20, 40),
        input_size=(3, FRAMES, 224, 224),
        begins_with="ImageNet weights with the same norms",
        settings="README and opts.py of mit-han-lab/temporal-shift-module, for that module with batch norms",
        notes=NOTES,
    )


def _network(_side: int | None) -> nn.Module:
    return ShiftedResNet50(CLASSES)
