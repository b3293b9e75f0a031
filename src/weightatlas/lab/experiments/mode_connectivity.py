"""The mode connectivity experiment: which networks does a straight line join, once aligned and recalibrated?"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments.change_data import data_sets
from weightatlas.lab.experiments.experiment import Experiment
from weightatlas.lab.experiments.mode_connectivity_measures import MEASURES, measure_alone, measure_together
from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult
from weightatlas.lab.experiments.mode_connectivity_variants import Family, of_family
from weightatlas.lab.experiments.weight_change import with_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME: Final = "mode-connectivity"
TITLES: Final = MappingProxyType(
    {
        "quick": "Mode connectivity on scenes",
        "cifar10-small": "Mode connectivity on CIFAR-10, small networks",
        "cifar10": "Mode connectivity on CIFAR-10",
    }
)
SEEDS: Final = (1, 2, 3)

RECIPE: Final = Recipe(
    steps=1024, batch_size=32, optimizer="sgd", learning_rate=0.1, weight_decay=5e-4, schedule="cosine", warmup=0.1
)
"""1024 updates, of which all shares at which runs fork are whole numbers."""

TESTED: Final = 2000
"""Test images that lines are evaluated on, where minutes count."""


def quick(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet-8 of half its width to twice it on the built-in scenes: minutes on two cores.

    Args:
        data: none: scenes are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    if data is not None:
        raise SourceError(NAME, "this preset brings its own data", "drop --data, or give --preset cifar10-small")
    base = _base("weightatlas:resnet8-cifar?classes=24", "scenes?label=order", "split=test&limit=1024")
    return experiment("quick", [Family(base=base, widths=(0.5, 1, 2), forked=0.5)], seeds)


def cifar10_small(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet-8 of a quarter of its width to its whole on CIFAR-10, the images' middle 24 x 24: on a CPU.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    base = _base(
        "weightatlas:resnet8-cifar",
        with_options(_cifar10(data), "size=24&normalize=cifar10"),
        f"split=test&limit={TESTED}",
        recipe=replace(RECIPE, steps=1536, batch_size=64),
        augmentation=Augmentation(flip=True),
    )
    return experiment("cifar10-small", [Family(base=base, widths=(0.25, 0.5, 1), forked=0.5)], seeds)


def cifar10(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """ResNet-20 of its width to eight times that on whole images, 80 epochs: days on one GPU.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    base = _base(
        "weightatlas:resnet20-cifar",
        with_options(_cifar10(data), "normalize=cifar10"),
        "split=test",
        recipe=replace(RECIPE, steps=31_232, batch_size=128),
        augmentation=Augmentation(flip=True, shift=4),
    )
    return experiment("cifar10", [Family(base=base, widths=(1, 2, 4, 8), forked=1)], seeds)


PRESETS: Final[MappingProxyType[str, Callable[..., Experiment]]] = MappingProxyType(
    {"quick": quick, "cifar10-small": cifar10_small, "cifar10": cifar10}
)


def experiment(preset: str, families: Sequence[Family], seeds: tuple[int, ...]) -> Experiment:
    """The experiment with these families."""
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(variant for family in families for variant in of_family(family)),
        seeds=seeds,
        measures=MEASURES,
        measure=measure_alone,
        measure_pair=measure_together,
        result=ModeConnectivityResult,
        title=TITLES.get(preset, ""),
    )


def _cifar10(data: str | None) -> str:
    return data_sets(NAME, data, needed=("cifar10",))["cifar10"]


def _base(
    model: str, data: str, held_out: str, *, recipe: Recipe = RECIPE, augmentation: Augmentation | None = None
) -> Configuration:
    how = Augmentation() if augmentation is None else augmentation
    return Configuration(model=model, data=data, held_out=with_options(data, held_out), recipe=recipe, augmentation=how)
