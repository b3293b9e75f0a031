"""WeightScale's experiment again: does a more complex task recruit later layers, and what does its figure measure?"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments import change_paper
from weightatlas.lab.experiments.change_data import data_sets
from weightatlas.lab.experiments.change_measures import MEASURES, measure_change
from weightatlas.lab.experiments.change_result import ChangeExperimentResult
from weightatlas.lab.experiments.change_variants import of_language, of_network, of_scenes
from weightatlas.lab.experiments.experiment import Experiment, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME: Final = "weight-change"
TITLES: Final = MappingProxyType(
    {
        "quick": "WeightScale, run again on scenes and a made-up language",
        "cifar10-small": "WeightScale, run again with a small network",
        "cifar": "WeightScale, run again on CIFAR",
        "paper": "WeightScale, run again",
    }
)
SEEDS: Final = (1, 2, 3, 4, 5)
RECORDS: Final = 25
"""Changes that are measured of a run, as many as the paper's epochs."""

TESTED: Final = 2000
"""Test images that are scored after each of them, where minutes count."""


def quick(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """A ResNet-18 of an eighth of its width on the built-in scenes, and a small language model: minutes on two cores.

    Args:
        data: none: scenes and language are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    if data is not None:
        raise SourceError(NAME, "this preset brings its own data", "drop --data, or give --preset cifar10-small")
    network = _base("weightatlas:resnet18-cifar?width=0.125", _recipe(steps=400, batch_size=32), every=400 // RECORDS)
    language = _base(
        "weightatlas:language-model?layers=4&width=64&context=32",
        _recipe(steps=800, batch_size=16),
        every=800 // RECORDS,
    )
    return experiment("quick", [*of_scenes(network, 24, 8), *of_language(language, 32, 256)], seeds)


def cifar10_small(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS[:3]) -> Experiment:
    """CIFAR at 24 x 24 and a ResNet-18 of an eighth of its width: on a CPU.

    Args:
        data: `cifar10:PATH`, and after a comma `cifar100:PATH`, which adds its fine and its coarse labels; svhn too.
        seeds: of the runs.

    Raises:
        SourceError: CIFAR-10 is not among the data.
    """
    found = data_sets(NAME, data, needed=("cifar10",))
    if "cifar100" in found:
        found["cifar100-coarse"] = with_options(found["cifar100"], "label=coarse")
    steps = 1200
    base = _base(
        "weightatlas:resnet18-cifar?width=0.125",
        _recipe(steps=steps, batch_size=change_paper.BATCH),
        every=steps // RECORDS,
        augmentation=Augmentation(flip=True),
    )
    sets = {name: with_options(source, "size=24&normalize=imagenet") for name, source in found.items()}
    return experiment("cifar10-small", of_network("resnet18", base, sets, tested=TESTED), seeds)


def cifar(data: str | None = None, *, seeds: tuple[int, ...] = change_paper.SEEDS) -> Experiment:
    """The paper's network and a true ResNet-50 on CIFAR-10 and CIFAR-100, 25 epochs: on one GPU.

    Args:
        data: `cifar10:PATH,cifar100:PATH`, or a folder that holds both.
        seeds: of the runs.

    Raises:
        SourceError: one of the two is not among the data.
    """
    found = data_sets(NAME, data, needed=("cifar10", "cifar100"))
    sets = {name: with_options(found[name], "normalize=imagenet") for name in ("cifar10", "cifar100")}
    return experiment("cifar", _residual(sets), seeds)


def paper(data: str | None = None, *, seeds: tuple[int, ...] = change_paper.SEEDS) -> Experiment:
    """All of the paper's runs, a true ResNet-50, and five seeds where it has one: on GPUs.

    As the paper: Adam at .001 all the way, 25 epochs, batches of 128, images of 32 x 32, for EfficientNet enlarged to
    224 x 224, normalised as ImageNet's, and mirrored. Ours shuffles the training data, which its code does not, does
    not mirror digits, and does not stop at an accuracy of 94 %.

    Args:
        data: `cifar10:PATH,cifar100:PATH,svhn:PATH`, or a folder that holds the three.
        seeds: of the runs.

    Raises:
        SourceError: one of the three is not among the data.
    """
    found = data_sets(NAME, data, needed=("cifar10", "cifar100", "svhn"))
    sets = {name: with_options(source, "normalize=imagenet") for name, source in found.items()}
    enlarged = {name: with_options(source, "size=224") for name, source in sets.items()}
    efficient = of_network("efficientnet-b4", _published("timm:efficientnet_b4?pretrained=false"), enlarged)
    return experiment("paper", [*_residual(sets), *efficient], seeds)


PRESETS: Final[MappingProxyType[str, Callable[..., Experiment]]] = MappingProxyType(
    {"quick": quick, "cifar10-small": cifar10_small, "cifar": cifar, "paper": paper}
)


def experiment(preset: str, variants: Iterable[Variant], seeds: tuple[int, ...]) -> Experiment:
    """The experiment with these variants, measured as WeightScale asks."""
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(variants),
        seeds=seeds,
        measures=MEASURES,
        measure=measure_change,
        result=ChangeExperimentResult,
        title=TITLES[preset],
    )


def with_options(data: str, options: str) -> str:
    """The name of data with options added.

    Example:
        >>> with_options("cifar10:data", "size=24"), with_options("cifar100:data?label=coarse", "size=24")
        ('cifar10:data?size=24', 'cifar100:data?label=coarse&size=24')
    """
    return f"{data}{'&' if '?' in data else '?'}{options}"


def _residual(sets: dict[str, str]) -> list[Variant]:
    return [
        variant
        for depth in (34, 50)
        for variant in of_network(f"resnet{depth}", _published(f"weightatlas:resnet{depth}-cifar"), sets)
    ]


def _published(model: str) -> Configuration:
    """A network trained as the paper trains it, with a checkpoint after every epoch."""
    recipe = replace(_recipe(steps=1, batch_size=change_paper.BATCH), steps=None, epochs=change_paper.EPOCHS)
    base = _base(model, replace(recipe, channels_last=True), every=None, augmentation=Augmentation(flip=True))
    return replace(base, keep="epochs")


def _recipe(*, steps: int, batch_size: int) -> Recipe:
    """Adam at the paper's learning rate, from the first update to the last."""
    return Recipe(
        steps=steps,
        batch_size=batch_size,
        optimizer="adam",
        learning_rate=change_paper.LEARNING_RATE,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
    )


def _base(model: str, recipe: Recipe, *, every: int | None, augmentation: Augmentation | None = None) -> Configuration:
    """A configuration whose data each variant replaces."""
    flips = Augmentation() if augmentation is None else augmentation
    return Configuration(model=model, data="scenes", recipe=recipe, every=every, augmentation=flips)
