"""COCO: Faster and Mask R-CNN with a feature pyramid on four backbones, one or two images a GPU."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from weightatlas.lab.published.figures import PublishedFigure
from weightatlas.lab.published.networks import rcnn
from weightatlas.lab.published.recipe import PublishedRecipe
from weightatlas.lab.published.tasks import Detection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from weightatlas.lab.published.figures import Certainty, Metric

FORK: Final = "joe-siyuan-qiao's fork of maskrcnn-benchmark, as our notes quote it"
FIGURES: Final[Mapping[str, tuple[float, float | None]]] = {
    "faster-rcnn-resnet50": (39.36, None),
    "faster-rcnn-resnet101": (41.32, None),
    "faster-rcnn-resnext50": (40.25, None),
    "faster-rcnn-resnext101": (41.90, None),
    "mask-rcnn-resnet50": (40.81, 36.51),
    "mask-rcnn-resnet101": (42.73, 37.92),
    "mask-rcnn-resnext50": (42.00, 37.28),
    "mask-rcnn-resnext101": (43.12, 38.34),
}
"""Box and mask AP of the authors, GN+WS, in per cent."""

DETECTRON: Final = "configs/gn_baselines of facebookresearch/maskrcnn-benchmark"
BASE: Final = f"{DETECTRON}: .02 for 16 images, weight decay 1e-4, 800 and 1333 pixels"
UNKNOWN: Final = "how long the authors trained could not be read; mmdetection says 24 epochs, a tenth after 20 and 23"
ONE_OR_TWO: Final = "one image a GPU for some of the networks, two for the others; which ones could not be read"
DETECTOR: Final = "torchvision's parts: its samplers, box coder and losses, where the source has its own"


def coco_recipes() -> tuple[PublishedRecipe, ...]:
    """The authors' eight with GN+WS, and Mask R-CNN by others: the GN baseline, and GN+WS in mmdetection.

    **Source:** figures of the authors from their fork of maskrcnn-benchmark, which could not be read again; the GN
    baseline and the solver from facebookresearch/maskrcnn-benchmark; configs/gn+ws of open-mmlab/mmdetection.
    """
    authors = tuple(_of_authors(name, *figures) for name, figures in FIGURES.items())
    return (*authors, _baseline(), _mmdetection())


def _of_authors(name: str, box: float, mask: float | None) -> PublishedRecipe:
    detector, _, backbone = name.rpartition("-")
    return _recipe(
        name,
        "gn-ws",
        backbone,
        conversion="ws+gn",
        masks=detector == "mask-rcnn",
        images_per_device=None,
        length=(None, ()),
        notes=(UNKNOWN, ONE_OR_TWO),
        published=_figures(box, mask, FORK, "quoted by others"),
    )


def _baseline() -> PublishedRecipe:
    return _recipe(
        "mask-rcnn-resnet50",
        "gn",
        "resnet50",
        conversion="gn",
        masks=True,
        images_per_device=2,
        length=(180_000, (120_000, 160_000)),
        notes=("twice the updates of the configuration that was read, which is 1x",),
        published=_figures(40.2, 36.0, f"README of {DETECTRON}", "read in its source"),
    )


def _mmdetection() -> PublishedRecipe:
    return _recipe(
        "mask-rcnn-resnet50-mmdetection",
        "gn-ws",
        "resnet50",
        conversion="ws+gn",
        masks=True,
        images_per_device=2,
        length=(180_000, (120_000, 160_000)),
        notes=("24 epochs, a tenth after 16 and 22, in mmdetection's own count: here as updates of the 2x schedule",),
        published=_figures(40.6, 36.6, "configs/gn+ws/README.md of open-mmlab/mmdetection", "read in its source"),
    )


def _recipe(
    name: str,
    method: str,
    backbone: str,
    *,
    conversion: str,
    masks: bool,
    images_per_device: int | None,
    length: tuple[int | None, tuple[int, ...]],
    notes: tuple[str, ...],
    published: tuple[PublishedFigure, ...],
) -> PublishedRecipe:
    return PublishedRecipe(
        name=f"coco-{name}-{method}",
        method=method,
        task=Detection(masks=masks),
        model=f"{'Mask' if masks else 'Faster'} R-CNN, {backbone}, feature pyramid",
        network=partial(_network, backbone, masks),
        conversion=conversion,
        batch_size=16,
        images_per_device=images_per_device,
        learning_rate=0.02,
        iterations=length[0],
        milestones=length[1],
        input_size=(3, 800, 1333),
        begins_with="the backbone's ImageNet weights with the same norms",
        settings=BASE,
        notes=(*notes, DETECTOR),
        published=published,
    )


def _network(backbone: str, masks: bool, side: int | None) -> nn.Module:
    return rcnn(backbone, masks=masks, side=side)


def _figures(box: float, mask: float | None, source: str, how_sure: Certainty) -> tuple[PublishedFigure, ...]:
    found: tuple[tuple[Metric, float | None], ...] = (("box AP", box), ("mask AP", mask))
    return tuple(
        PublishedFigure(metric=metric, value=value, source=source, how_sure=how_sure)
        for metric, value in found
        if value is not None
    )
