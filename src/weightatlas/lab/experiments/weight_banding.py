"""Weight Banding's experiments again: every variant of the article, what it says of each, and a control of our own."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments.banding_measures import MEASURES, measure_banding
from weightatlas.lab.experiments.banding_result import BandingExperimentResult
from weightatlas.lab.experiments.banding_variants import (
    all_variants,
    banding_claim,
    changed,
    confirmed_in,
    control,
    persisted,
)
from weightatlas.lab.experiments.experiment import Experiment, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME: Final = "weight-banding"
TITLES: Final = MappingProxyType(
    {
        "quick": "Weight Banding, run again on scenes",
        "cifar10-small": "Weight Banding, run again on CIFAR-10",
        "cifar10": "Weight Banding, run again on CIFAR-10",
        "paper": "Weight Banding, run again on ImageNet",
    }
)
SEEDS: Final = (1, 2, 3)


def quick(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """The built-in scenes, 24 x 24, and a network of four layers: minutes on two cores.

    Args:
        data: scenes with other options; the control is always the scenes' own.
        seeds: of the runs.
    """
    base = Configuration(
        model="weightatlas:simplified?groups=small&input_size=24&classes=4",
        data=data or "scenes?label=top",
        recipe=Recipe(
            steps=400,
            batch_size=64,
            optimizer="adamw",
            learning_rate=3e-3,
            weight_decay=0.01,
            schedule="one-cycle",
            warmup=0.15,
        ),
    )
    heads = ("masks-3", "attention", "coordconv")
    variants = [*changed(base), *(persisted(base, name) for name in heads), control(base)]
    return experiment("quick", variants, seeds)


def cifar10_small(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """CIFAR-10 at 24 x 24 and the small network: what changed bands in the article, on a CPU.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    base = Configuration(
        model="weightatlas:simplified?groups=small&input_size=24&classes=10",
        data=sized(_named(data, "cifar10:PATH"), 24),
        recipe=Recipe(epochs=6, batch_size=128, learning_rate=3e-3, weight_decay=0.01),
        augmentation=Augmentation(flip=True, shift=2),
    )
    return experiment("cifar10-small", changed(base), seeds)


def cifar10(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """CIFAR-10: all variants of the simplified network, and three common networks x upright, turned, no pooling.

    Images keep their 32 x 32. The common networks drop their first strides and pools ("small-images"), so that their
    last map has 8 x 8 positions, as many as the simplified network's; on images enlarged to 128 x 128 it would have
    4 x 4. They are InceptionV1 (5.6 million parameters), ResNet50 with 3 x 3 convolutions of half the width (10.3
    million) and VGG19 with batch norms (140 million, most of them in its fully connected layers).

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    source = _named(data, "cifar10:PATH")
    base = Configuration(
        model="weightatlas:simplified?input_size=32&classes=10&width=0.5",
        data=source,
        recipe=Recipe(
            epochs=40,
            batch_size=512,
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=0.05,
            precision="bf16-mixed",
            channels_last=True,
        ),
        augmentation=Augmentation(flip=True, shift=4),
    )
    common = replace(
        base,
        interventions=("small-images",),
        recipe=replace(base.recipe, epochs=15, batch_size=256, learning_rate=1e-3),
    )
    networks = {
        "inception-v1": "torchvision:googlenet?pretrained=false&num_classes=10&aux_logits=false",
        "resnet50": "torchvision:resnet50?pretrained=false&num_classes=10&width_per_group=32",
        "vgg19": "torchvision:vgg19_bn?pretrained=false&num_classes=10",
    }
    variants = [*all_variants(base), *confirmed_in(networks, common)]
    return experiment("cifar10", variants, seeds)


def paper(data: str | None = None, *, seeds: tuple[int, ...] = (1, 2)) -> Experiment:
    """The article's own runs: ImageNet, 90 epochs, batches of 512 and from epoch 30 on of 1024.

    It names neither optimiser nor learning rate, decay nor augmentation; those are ours, as are VGG19's batch norms.
    torchvision's InceptionV1 has 3 x 3 kernels where the article's has 5 x 5.

    Args:
        data: the folder of ImageNet, with a sub-folder for each class below `train` and `val`.
        seeds: of the runs; the article has two of its baseline.

    Raises:
        SourceError: no data are named.
    """
    source = sized(_named(data, "the folder of ImageNet"), 256)  # of which training and evaluation cut 224
    base = Configuration(
        model="weightatlas:simplified?input_size=224&classes=1001",
        data=source,
        recipe=Recipe(
            epochs=90,
            batch_size=512,
            batch_schedule=((30, 1024),),
            optimizer="sgd",
            learning_rate=0.2,
            weight_decay=4e-5,
            schedule="cosine",
            warmup=0.05,
            precision="bf16-mixed",
            channels_last=True,
        ),
        augmentation=Augmentation(flip=True, scale=(0.08, 1.0), crop=224),
    )
    networks = {
        "inception-v1": "torchvision:googlenet?pretrained=false&aux_logits=false",
        "resnet50": "torchvision:resnet50?pretrained=false",
        "vgg19": "torchvision:vgg19_bn?pretrained=false",
    }
    variants = [*all_variants(base), *confirmed_in(networks, base)]
    alexnet = replace(base, model="weightatlas:alexnet?input_size=224&classes=1000")
    article = "AlexNet's conv5 does not exhibit it: no pooling before its fully connected layers"
    claims = (banding_claim("last_slide_score", "absent", article),)
    variants.append(Variant(name="alexnet", configuration=alexnet, claims=claims, note="with its two groups"))
    return experiment("paper", variants, seeds)


PRESETS: Final[MappingProxyType[str, Callable[..., Experiment]]] = MappingProxyType(
    {"quick": quick, "cifar10-small": cifar10_small, "cifar10": cifar10, "paper": paper}
)


def experiment(preset: str, variants: Iterable[Variant], seeds: tuple[int, ...]) -> Experiment:
    """The experiment with these variants, measured as Weight Banding asks."""
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(variants),
        seeds=seeds,
        measures=MEASURES,
        measure=measure_banding,
        result=BandingExperimentResult,
        title=TITLES[preset],
    )


def sized(data: str, size: int) -> str:
    """The name of data with its images at a size.

    Example:
        >>> sized("cifar10:data", 24), sized("imagenet?split=val", 224)
        ('cifar10:data?size=24', 'imagenet?split=val&size=224')
    """
    return f"{data}{'&' if '?' in data else '?'}size={size}"


def _named(data: str | None, example: str) -> str:
    if data is None:
        raise SourceError(NAME, "this preset needs data", f"give them: --data {example}")
    return data
