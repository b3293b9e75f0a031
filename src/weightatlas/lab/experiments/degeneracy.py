"""The degeneracy experiment: how many directions of the weights are free, in which basis is a network sparse?"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments.change_data import data_sets
from weightatlas.lab.experiments.degeneracy_measures import MEASURES, measure
from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult
from weightatlas.lab.experiments.degeneracy_variants import ADAM, MIXED, addition, modular, perceptron
from weightatlas.lab.experiments.experiment import Experiment
from weightatlas.lab.experiments.weight_change import with_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.lab.experiments.experiment import Variant

NAME: Final = "degeneracy"
TITLES: Final = MappingProxyType(
    {
        "quick": "Degeneracy of small networks",
        "modular-addition": "Degeneracy of modular addition",
        "images": "Degeneracy of image networks",
        "published": "Degeneracy of modular addition, published size",
    }
)
SEEDS: Final = (1, 2, 3, 4, 5)
"""Of all presets: five networks of modular addition are published, and fewer say nothing of a rank correlation."""

UNDERSTOOD: Final = "test_accuracy>0.999"

MOSTLY: Final = "test_accuracy>0.95"
"""The same where only 159 sums are held out, of which one in a thousand is none."""

TASKS: Final = "weightatlas:perceptron?inputs=128&layers=2&tasks=2"
TWO: Final = Recipe(
    steps=6_000, batch_size=64, optimizer="adamw", learning_rate=1e-3, weight_decay=0.1, schedule="constant"
)
EQUAL: Final = "test_loss<0.4"
"""Where both networks of two tasks stop: so they have one loss, whatever their weights could still reach. Both get
there, with a third of all answers' entropy to spare."""

SCENES: Final = Recipe(steps=400, batch_size=64, optimizer="adamw", learning_rate=3e-3)


def quick(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """Perceptrons on digits, two tasks mixed and modular, the simplified network on scenes, addition modulo 23.

    Args:
        data: none: all are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    _no_data(data, "images")
    small = "&width=32&heads=2&head_width=16&hidden=96"
    return experiment("quick", (*_digits(), *_two_tasks(16), _scenes(), _small_addition(small)), seeds)


def modular_addition(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """The published transformer on addition modulo 53, stopped once it has understood: hours on two cores.

    Args:
        data: none: all sums are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    _no_data(data, "images")
    return experiment(
        "modular-addition", (addition("addition-53", p=53, fraction=0.5, steps=40_000, stop=UNDERSTOOD),), seeds
    )


def images(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """The published perceptron, 3072-100-100-10, on CIFAR-10, beside that on digits and the simplified network.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    cifar = data_sets(NAME, data, needed=("cifar10",))["cifar10"]
    configuration = Configuration(
        model="weightatlas:perceptron?inputs=3072&hidden=100&layers=2",
        data=with_options(cifar, "normalize=cifar10"),
        held_out=with_options(cifar, "normalize=cifar10&split=test"),
        recipe=ADAM,
        keep="log",
    )
    wide = perceptron("cifar10", configuration, "CIFAR-10, 3072-100-100-10")
    return experiment("images", (*_digits(), wide, _scenes()), seeds)


def published(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """The published runs of modular addition: p = 113, 60,000 updates of full batches; for a GPU.

    Args:
        data: none: all sums are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    _no_data(data, "images")
    return experiment("published", (addition("addition-113", p=113, fraction=0.3),), seeds)


PRESETS: Final[MappingProxyType[str, Callable[..., Experiment]]] = MappingProxyType(
    {"quick": quick, "modular-addition": modular_addition, "images": images, "published": published}
)


def experiment(preset: str, variants: Sequence[Variant], seeds: tuple[int, ...]) -> Experiment:
    """The experiment with these variants."""
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(variants),
        seeds=seeds,
        measures=MEASURES,
        measure=measure,
        result=DegeneracyResult,
        title=TITLES.get(preset, ""),
    )


def _digits() -> tuple[Variant, ...]:
    configuration = Configuration(
        model="weightatlas:perceptron?inputs=64&hidden=16&layers=2",
        data="digits",
        held_out="digits?split=test",
        recipe=replace(ADAM, epochs=40),
        keep="log",
    )
    return (perceptron("digits", configuration, "digits of 8 x 8, 64-16-16-10"),)


def _two_tasks(hidden: int) -> tuple[Variant, ...]:
    base = Configuration(
        model=f"{TASKS}&hidden={hidden}",
        data="digit-pairs",
        held_out="digit-pairs?split=test",
        recipe=TWO,
        keep="log",
        stop=EQUAL,
        stop_every=25,
    )
    planted = replace(base, model=f"{base.model}&modular=true")
    return (
        perceptron(MIXED, base, "two digits at once, every unit free to serve both"),
        modular("modular", planted, "two digits at once, half of the units for each", against=MIXED),
    )


def _scenes() -> Variant:
    configuration = Configuration(
        model="weightatlas:simplified?groups=small&width=0.125&input_size=24&classes=4",
        data="scenes?label=top",
        held_out="scenes?label=top&split=test&limit=1024",
        recipe=SCENES,
        keep="log",
    )
    return perceptron("scenes", configuration, "the simplified network of Weight Banding on scenes")


def _small_addition(sizes: str) -> Variant:
    return addition("addition-23", p=23, fraction=0.7, sizes=sizes, steps=20_000, stop=MOSTLY)


def _no_data(data: str | None, preset: str) -> None:
    if data is not None:
        raise SourceError(NAME, "this preset brings its own data", f"drop --data, or give --preset {preset}")
