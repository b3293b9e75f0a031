"""The micro-batch experiment: does weight standardisation with batch-channel norm do without large batches?"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments import micro_batch_rates
from weightatlas.lab.experiments.change_data import data_sets
from weightatlas.lab.experiments.experiment import Experiment, Variant
from weightatlas.lab.experiments.micro_batch_measures import MEASURES, measure_micro_batch, measure_score
from weightatlas.lab.experiments.micro_batch_published import coco, imagenet, something, voc
from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
from weightatlas.lab.experiments.micro_batch_variants import Part, of_part, of_rates
from weightatlas.lab.experiments.weight_change import with_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME: Final = "micro-batch"
TITLES: Final = MappingProxyType(
    {
        "quick": "Micro-batch training on scenes",
        "cifar10-small": "Micro-batch training on CIFAR-10, a small network",
        "cifar10": "Micro-batch training on CIFAR-10",
    }
)
SEEDS: Final = (1, 2, 3)
TUNING: Final = (0,)
"""The seed of the runs that choose learning rates: no preset has it."""

TESTED: Final = 2000
"""Test images that are scored, where minutes count."""

RECIPE: Final = Recipe(steps=1, optimizer="sgd", momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup=0.1)
"""SGD as the paper's: momentum .9; its decay of 1e-4 is that of ImageNet, five times it that of CIFAR."""


def quick(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet-8 of half its width on the built-in scenes, and a small segmenter on their masks: minutes on two cores.

    Args:
        data: none: scenes are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    return experiment("quick", [variant for part in _scenes(data) for variant in of_part(part)], seeds)


def quick_rates(data: str | None = None, *, seeds: tuple[int, ...] = TUNING) -> Experiment:
    """What the learning rates of `quick` are chosen from: three for each method at the largest batch."""
    return _rates("quick", _scenes(data), seeds)


def cifar10_small(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet-20 of half its width on CIFAR-10, the images' middle 24 x 24: on a CPU.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    return experiment("cifar10-small", of_part(_cifar10_small(data)), seeds)


def cifar10_small_rates(data: str | None = None, *, seeds: tuple[int, ...] = TUNING) -> Experiment:
    """What the learning rates of `cifar10-small` are chosen from."""
    return _rates("cifar10-small", [_cifar10_small(data)], seeds)


def cifar10(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet-20 on whole images, five epochs, batches of 1, 2, 4 and 64: about a day on one GPU.

    With batches of one an epoch is 50,000 updates, so the run is short; all see as many images. The learning rates are
    those of `cifar10-small`; `cifar10-rates` tries three here.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    return experiment("cifar10", of_part(_cifar10(data)), seeds)


def cifar10_rates(data: str | None = None, *, seeds: tuple[int, ...] = TUNING) -> Experiment:
    """What the learning rates of `cifar10` may be chosen from."""
    return _rates("cifar10", [_cifar10(data)], seeds)


PRESETS: Final[MappingProxyType[str, Callable[..., Experiment]]] = MappingProxyType(
    {
        "quick": quick,
        "quick-rates": quick_rates,
        "cifar10-small": cifar10_small,
        "cifar10-small-rates": cifar10_small_rates,
        "cifar10": cifar10,
        "cifar10-rates": cifar10_rates,
        "imagenet": imagenet,
        "coco": coco,
        "voc": voc,
        "something": something,
    }
)


def experiment(preset: str, variants: Iterable[Variant], seeds: tuple[int, ...]) -> Experiment:
    """The experiment with these variants."""
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(variants),
        seeds=seeds,
        measures=MEASURES,
        measure=measure_micro_batch,
        result=MicroBatchResult,
        title=TITLES.get(preset, ""),
    )


def _rates(preset: str, parts: Iterable[Part], seeds: tuple[int, ...]) -> Experiment:
    variants = [variant for part in parts for variant in of_rates(part, micro_batch_rates.TRIED)]
    return replace(experiment(f"{preset}-rates", variants, seeds), measure=measure_score)


def _scenes(data: str | None) -> list[Part]:
    if data is not None:
        raise SourceError(NAME, "this preset brings its own data", "drop --data, or give --preset cifar10-small")
    return [
        Part(
            base=_base("weightatlas:resnet8-cifar?width=0.5&classes=24", "scenes?label=order", TEST_SCENES),
            images=12_288,
            batches=(16, 1),
            rates=micro_batch_rates.QUICK,
        ),
        Part(
            base=_base("weightatlas:segmenter?width=0.5", "scenes?label=mask", TEST_SCENES),
            images=2560,
            batches=(16, 1),
            rates=micro_batch_rates.QUICK_MASKS,
            prefix="masks.",
        ),
    ]


TEST_SCENES: Final = "split=test&limit=1024"


def _cifar10_small(data: str | None) -> Part:
    source = with_options(data_sets(NAME, data, needed=("cifar10",))["cifar10"], "size=24&normalize=cifar10")
    return Part(
        base=_base(
            "weightatlas:resnet20-cifar?width=0.5",
            source,
            f"split=test&limit={TESTED}",
            augmentation=Augmentation(flip=True),
        ),
        images=12_800,
        batches=(64, 2),
        rates=micro_batch_rates.CIFAR10_SMALL,
    )


def _cifar10(data: str | None) -> Part:
    source = with_options(data_sets(NAME, data, needed=("cifar10",))["cifar10"], "normalize=cifar10")
    return Part(
        base=_base("weightatlas:resnet20-cifar", source, "split=test", augmentation=Augmentation(flip=True, shift=4)),
        images=250_000,
        batches=(64, 4, 2, 1),
        rates=micro_batch_rates.CIFAR10_SMALL,
    )


def _base(model: str, data: str, held_out: str, *, augmentation: Augmentation | None = None) -> Configuration:
    how = Augmentation() if augmentation is None else augmentation
    return Configuration(model=model, data=data, held_out=with_options(data, held_out), recipe=RECIPE, augmentation=how)
