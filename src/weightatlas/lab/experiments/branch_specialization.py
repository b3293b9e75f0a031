"""Branch Specialization's experiment: which branch takes colour, which frequency, and does its shape decide?"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments.branch_measures import MEASURES, measure_branches
from weightatlas.lab.experiments.branch_result import BranchExperimentResult
from weightatlas.lab.experiments.branch_variants import SHALLOW, Bases, all_variants
from weightatlas.lab.experiments.change_data import data_sets
from weightatlas.lab.experiments.experiment import Experiment
from weightatlas.lab.experiments.weight_change import with_options

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "branch-specialization"
TITLES: Final = MappingProxyType(
    {
        "quick": "Branch specialisation on scenes",
        "cifar10-small": "Branch specialisation on CIFAR-10, small networks",
        "cifar10": "Branch specialisation on CIFAR-10",
        "paper": "Branch specialisation on ImageNet",
    }
)
SEEDS: Final = (1, 2, 3)
RECORDS: Final = 16
"""Checkpoints of a run after its first weights: when specialisation sets in is seen to a sixteenth of the run."""

LEARNING_RATE, WEIGHT_DECAY = 0.2, 5e-3
"""Of SGD where batch norms follow the kernels; see `_small`."""

SMALL_ALEXNET: Final = "weightatlas:alexnet?width=0.25&input_size=32&norm=batch&dropout=0"
TESTED: Final = 2000
"""Test images that are scored, where minutes count."""


def quick(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """Narrow networks on the built-in scenes: minutes on two cores.

    The four kinds of disc differ in colour and, but for yellow, not in luminance, and the answer is a colour: scenes
    call for colour units and hardly for black-and-white ones. What separates on photographs need not separate here.

    Args:
        data: none: scenes are built in.
        seeds: of the runs.

    Raises:
        SourceError: data are named.
    """
    if data is not None:
        raise SourceError(NAME, "this preset brings its own data", "drop --data, or give --preset cifar10-small")

    def on(size: int, model: str, recipe: Recipe) -> Configuration:
        named = f"scenes?size={size}"
        return _base(f"{model}&classes=4", named, recipe, held_out=f"{named}&split=test&steps=32")

    return experiment("quick", _small(on, 300, augmentation=Augmentation()), seeds)


def cifar10_small(data: str | None = None, *, seeds: tuple[int, ...] = SEEDS) -> Experiment:
    """The same narrow networks on CIFAR-10, the images' middle 24 x 24, for AlexNet whole: on a CPU.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    source = data_sets(NAME, data, needed=("cifar10",))["cifar10"]

    def on(size: int, model: str, recipe: Recipe) -> Configuration:
        named = with_options(source, f"size={size}&normalize=cifar10")
        held_out = with_options(named, f"split=test&limit={TESTED}")
        return _base(f"{model}&classes=10", named, recipe, held_out=held_out)

    return experiment("cifar10-small", _small(on, 600, augmentation=Augmentation(flip=True)), seeds)


def cifar10(data: str | None = None, *, seeds: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Experiment:
    """Networks of full width on whole images, 30 epochs and 60 of the residual ones: on one GPU.

    Where batch norms follow, SGD and a decay that is felt within the run, as in the small presets; AlexNet as
    published, with AdamW.

    Args:
        data: where CIFAR-10 lies, `cifar10:PATH`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    source = with_options(data_sets(NAME, data, needed=("cifar10",))["cifar10"], "normalize=cifar10")
    recipe = Recipe(
        epochs=30,
        batch_size=256,
        optimizer="sgd",
        learning_rate=0.4,
        weight_decay=2e-3,
        precision="bf16-mixed",
        channels_last=True,
    )
    published = replace(recipe, epochs=40, optimizer="adamw", learning_rate=5e-4, weight_decay=0.05)
    longer = replace(recipe, epochs=60, learning_rate=0.2, weight_decay=5e-4)

    def on(model: str, how: Recipe = recipe) -> Configuration:
        base = _base(f"{model}&classes=10", source, how, augmentation=Augmentation(flip=True, shift=4))
        return replace(base, keep="epochs", every=None)

    bases = Bases(
        branched=on("weightatlas:branched?input_size=32"),
        alexnet=on("weightatlas:alexnet?input_size=32&width=0.5", published),
        crossed=on("weightatlas:parallel-branches?input_size=32&width=2"),
        residual={
            SHALLOW: on("weightatlas:resnet20-cifar?width=1", longer),
            "deep": on("weightatlas:resnet110-cifar?width=1", longer),
        },
    )
    return experiment("cifar10", bases, seeds)


def paper(data: str | None = None, *, seeds: tuple[int, ...] = (1, 2)) -> Experiment:
    """ImageNet: AlexNet as its article trains it, with and without groups, and small networks in branches.

    AlexNet: SGD with batches of 128, momentum .9, weight decay .0005, a learning rate of .01 divided by ten three
    times, 90 epochs, cuts of 224 and mirror images; its first weights are He's (see `AlexNet`). Branch Specialization
    gives no recipe for its small networks; ours are trained by SGD for 30 epochs on cuts of 64. Its ResNet-152 is
    compared with a ResNet-50, also at 64.

    Args:
        data: the folder of ImageNet, with a sub-folder for each class below `train` and `val`.
        seeds: of the runs.

    Raises:
        SourceError: no data are named.
    """
    if data is None:
        raise SourceError(NAME, "this preset needs data", "give them: --data the folder of ImageNet")
    alexnet = Recipe(
        epochs=90,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.01,
        weight_decay=5e-4,
        schedule="step",
        warmup=0.0,
        channels_last=True,
        precision="bf16-mixed",
    )
    small = replace(
        alexnet,
        epochs=30,
        batch_size=256,
        learning_rate=0.4,
        weight_decay=1e-4,
        schedule="one-cycle",
        warmup=0.15,
    )

    def on(model: str, how: Recipe, size: int, margin: int) -> Configuration:
        named = with_options(data, f"size={size + margin}&normalize=imagenet")
        cut = Augmentation(flip=True, crop=size)
        return replace(_base(model, named, how, augmentation=cut), keep="epochs", every=None)

    bases = Bases(
        branched=on("weightatlas:branched?input_size=64&classes=1000&width=2", small, 64, 8),
        alexnet=on("weightatlas:alexnet?input_size=224&classes=1000", alexnet, 224, 32),
        crossed=on("weightatlas:parallel-branches?input_size=64&classes=1000&width=4", small, 64, 8),
        residual={
            SHALLOW: on("weightatlas:resnet50-cifar?classes=1000", small, 64, 8),
            "deep": on("weightatlas:resnet152-cifar?classes=1000", small, 64, 8),
        },
    )
    return experiment("paper", bases, seeds)


PRESETS: Final[MappingProxyType[str, Callable[..., Experiment]]] = MappingProxyType(
    {"quick": quick, "cifar10-small": cifar10_small, "cifar10": cifar10, "paper": paper}
)


def experiment(preset: str, bases: Bases, seeds: tuple[int, ...]) -> Experiment:
    """The experiment with these networks."""
    return Experiment(
        name=NAME,
        preset=preset,
        variants=tuple(all_variants(bases)),
        seeds=seeds,
        measures=MEASURES,
        measure=measure_branches,
        result=BranchExperimentResult,
        title=TITLES[preset],
    )


def _small(on: Callable[[int, str, Recipe], Configuration], steps: int, *, augmentation: Augmentation) -> Bases:
    """Narrow networks for a CPU: 32 units in conv1, 24 in AlexNet's.

    The decay is ten times the usual one: behind a batch norm it makes a kernel forget its first weights, which are
    noise and would count as colour, within the few updates there are. It was chosen on CIFAR-10 without branches, with
    a seed that no preset has: the cosine of conv1's kernels with their first weights ended at .16 after 800 updates;
    with AdamW at .003 at .76 after 1000. AlexNet as published, with AdamW, stayed at .98 and answered 30 %, so it has
    batch norms here.
    """
    recipe = Recipe(steps=steps, batch_size=64, optimizer="sgd", learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    half = replace(recipe, batch_size=32, learning_rate=LEARNING_RATE / 2)
    bases = {
        "branched": on(24, "weightatlas:branched?width=0.5&input_size=24", recipe),
        "crossed": on(24, "weightatlas:parallel-branches?input_size=24", recipe),
        "alexnet": on(
            32,
            "weightatlas:alexnet?width=0.25&input_size=32&norm=batch&dropout=0",
            replace(half, steps=min(steps, 400), learning_rate=LEARNING_RATE),
        ),
        SHALLOW: on(24, "weightatlas:resnet20-cifar?width=0.5", half),
        "deep": on(24, "weightatlas:resnet56-cifar?width=0.5", half),
    }
    made = {
        name: replace(base, augmentation=augmentation, every=max(1, (base.recipe.steps or RECORDS) // RECORDS))
        for name, base in bases.items()
    }
    return Bases(
        branched=made["branched"],
        crossed=made["crossed"],
        alexnet=made["alexnet"],
        residual={SHALLOW: made[SHALLOW], "deep": made["deep"]},
    )


def _base(
    model: str,
    data: str,
    recipe: Recipe,
    *,
    held_out: str | None = None,
    augmentation: Augmentation | None = None,
) -> Configuration:
    how = Augmentation() if augmentation is None else augmentation
    return Configuration(model=model, data=data, held_out=held_out, recipe=recipe, augmentation=how)
