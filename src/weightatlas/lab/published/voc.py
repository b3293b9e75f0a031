"""PASCAL VOC 2012: DeepLabv3 on a ResNet-101, with batch norms and with both of the papers' methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.published.figures import PublishedFigure
from weightatlas.lab.published.networks import deeplab
from weightatlas.lab.published.recipe import PublishedRecipe
from weightatlas.lab.published.tasks import Segmentation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

README: Final = "DeepLabV3/README.md of joe-siyuan-qiao/Batch-Channel-Normalization"
METHODS: Final[Mapping[str, tuple[str, float]]] = {
    "bn": ("bn", 76.49),
    "gn-ws": ("ws+gn", 77.20),
    "bcn-ws": ("ws+bcn", 78.10),
}
"""Conversion and mean IoU in per cent, of the validation set at one scale, by the end of a recipe's name."""

NOTES: Final = (
    "dropout after the pooled features, which torchvision's DeepLabv3 has and the authors' has not",
    "torchvision scales maps up without aligned corners, the authors with",
)


def voc_recipes() -> tuple[PublishedRecipe, ...]:
    """DeepLabv3 on ResNet-101: BN, GN+WS and BCN+WS.

    **Source:** README and main.py of DeepLabV3 in joe-siyuan-qiao/Batch-Channel-Normalization: SGD, .007, momentum .9,
    weight decay 1e-4, "poly" of power .9 to zero, 50 epochs of the augmented training set, batches of 16, crops of 513
    pixels, 255 ignored; deeplab.py: output stride 16, rates 6, 12 and 18, no auxiliary head, synchronised batch norms
    within BCN, deviations without bias and with 1e-5 beside them.
    """
    return tuple(_recipe(method, conversion, value) for method, (conversion, value) in METHODS.items())


def _recipe(method: str, conversion: str, value: float) -> PublishedRecipe:
    synchronised = ("its batch norm is synchronised over all devices, so it sees the whole batch",)
    return PublishedRecipe(
        name=f"voc-deeplabv3-resnet101-{method}",
        method=method,
        task=Segmentation(classes=21, size=513),
        model="DeepLabv3, resnet101",
        network=_network,
        conversion=conversion,
        batch_size=16,
        images_per_device=16 if method == "bcn-ws" else None,
        learning_rate=0.007,
        schedule="poly",
        epochs=50,
        input_size=(3, 513, 513),
        begins_with="the backbone's ImageNet weights with the same norms",
        settings=f"{README}, main.py and deeplab.py beside it",
        notes=(*NOTES, *(synchronised if method == "bcn-ws" else ())),
        published=(PublishedFigure(metric="mean IoU", value=value, source=README, how_sure="read in its source"),),
    )


def _network(_side: int | None) -> nn.Module:
    return deeplab()
