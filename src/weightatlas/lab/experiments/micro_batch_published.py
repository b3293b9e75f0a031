"""The presets of the micro-batch experiment that run published recipes: ImageNet, COCO, PASCAL VOC, clips."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.experiment import Experiment, Variant
from weightatlas.lab.experiments.micro_batch_measures import MEASURES, measure_micro_batch
from weightatlas.lab.experiments.micro_batch_paper import variant_of
from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
from weightatlas.lab.experiments.micro_batch_variants import ABLATION, BASELINES, BCN_WS, BN, CENTRED, GN, SCALED, WS
from weightatlas.lab.published import PUBLISHED, configuration_of, differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.lab.experiments.claims import Expected
    from weightatlas.lab.published import PublishedRecipe

NAME: Final = "micro-batch"
TITLES: Final[Mapping[str, str]] = {
    "imagenet": "Micro-batch training, run again on ImageNet",
    "coco": "Micro-batch training, run again on COCO",
    "voc": "Micro-batch training, run again on PASCAL VOC",
    "something": "Micro-batch training, run again on clips",
}
SEEDS: Final = (1, 2)
"""The papers have one seed; two are the least that give an interval."""

BN_WS: Final = "bn-ws"
AGAINST: Final[Mapping[str, str]] = {**BASELINES, BN_WS: BN}

HALF_A_POINT: Final = 0.005
"""Of accuracy or overlap: below it a method is as good as another. The papers' methods differ by .5 to 1.5 points."""


def imagenet(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet and ResNeXt, 50 and 101 layers, with BN, GN, GN+WS, BN+WS and BCN+WS: weeks on GPUs.

    Batches of 256 and 128, as the papers': with group norm a batch of one is simulated so.

    Args:
        data: the folder of ImageNet, with a sub-folder for each class below `train` and `val`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    return _experiment("imagenet", data, seeds)


def coco(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """Faster and Mask R-CNN: their recipes are here, but the lab's loop cannot train them.

    Args:
        data: not looked at.
        seeds: of the runs.

    Raises:
        SourceError: always; it names what trains a detector.
    """
    return _experiment("coco", data, seeds)


def voc(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """DeepLabv3 on a ResNet-101 with BN, GN+WS and BCN+WS: a day on a GPU for each run.

    Args:
        data: `package.module:callable` that gives batches of images and maps of classes, a class for every pixel; after
            a comma another one with what is held out.
        seeds: of the runs.

    Raises:
        SourceError: no such data are named.
    """
    return _experiment("voc", data, seeds)


def something(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """A ResNet-50 with a temporal shift on clips, with BN, GN, GN+WS and BCN+WS: days on GPUs.

    Args:
        data: `package.module:callable` that gives batches of clips and their classes; after a comma another one with
            what is held out.
        seeds: of the runs.

    Raises:
        SourceError: no such data are named.
    """
    return _experiment("something", data, seeds)


def _experiment(preset: str, data: str | None, seeds: tuple[int, ...]) -> Experiment:
    recipes = [recipe for name, recipe in PUBLISHED.items() if name.startswith(f"{preset}-")]
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(_variant(recipe, data) for recipe in recipes),
        seeds=seeds,
        measures=MEASURES,
        measure=measure_micro_batch,
        result=MicroBatchResult,
        title=TITLES[preset],
    )


def _variant(recipe: PublishedRecipe, data: str | None) -> Variant:
    """A recipe as a variant, compared with the same network, measured at powers of two."""
    baseline = _other(recipe, AGAINST.get(recipe.method))
    return Variant(
        name=variant_of(recipe),
        configuration=replace(configuration_of(recipe, data), keep="log"),
        against=None if baseline is None else variant_of(baseline),
        claims=tuple(_claims(recipe, baseline)),
        note="; ".join((f"{recipe.model}, {recipe.conversion}", *differences(recipe))),
    )


def _claims(recipe: PublishedRecipe, baseline: PublishedRecipe | None) -> list[Claim]:
    """The papers' ordering where they have figures, what is expected of the same methods where they have none."""
    method, bn, ws = recipe.method, _other(recipe, BN), _other(recipe, WS)
    if baseline is None:
        return []
    article = beside(recipe, baseline)
    if method in (CENTRED, SCALED):
        half: Expected = "over half" if method == CENTRED else "under half"
        return [Claim(measure="score", expected=half, gain_of=None if ws is None else variant_of(ws), article=ABLATION)]
    if method == GN:
        return [Claim(measure="score", expected="lower", article=article)]
    if method == BCN_WS and baseline is ws:
        claims = [Claim(measure="score", expected="not lower", floor=HALF_A_POINT, article=article)]
    else:
        claims = [Claim(measure="score", expected="higher", article=article)]
    if bn is not None and bn is not baseline:
        article, name = beside(recipe, bn), variant_of(bn)
        claims.append(Claim(measure="score", expected="not lower", floor=HALF_A_POINT, against=name, article=article))
    return claims


def beside(recipe: PublishedRecipe, other: PublishedRecipe) -> str:
    """The first published figures of two recipes in one metric; empty where one of them has none.

    Example:
        >>> beside(PUBLISHED["imagenet-resnet50-gn-ws"], PUBLISHED["imagenet-resnet50-gn"])
        'top-1 error 23.72 against 24.81'
    """
    if not recipe.published or not other.published:
        return ""
    first, second = recipe.published[0], other.published[0]
    return f"{first.metric} {first.value:.2f} against {second.value:.2f}" if first.metric == second.metric else ""


def _other(recipe: PublishedRecipe, method: str | None) -> PublishedRecipe | None:
    """The recipe of the same network by another method; of the nearest one before it where there is none."""
    while method is not None:
        name = f"{recipe.name.removesuffix(recipe.method)}{method}"
        if name in PUBLISHED:
            return PUBLISHED[name]
        method = AGAINST.get(method)
    return None
