"""One run from its configuration: network, interventions, data, training, scores; kept in a folder and resumed."""

from __future__ import annotations

import platform
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import joblib
import torch

import weightatlas
from weightatlas.checkpoints.untrusted import summary
from weightatlas.data import Examples, NoSplitError, Prefetched, SceneFeed, StreamedFeed
from weightatlas.errors import SourceError
from weightatlas.evaluation import feed_of, open_data, open_model
from weightatlas.evaluation.scoring import logits_of
from weightatlas.lab.devices import Devices, first_alone, open_fabric, threads
from weightatlas.lab.interventions import intervene
from weightatlas.lab.plan import kept_steps, make_plan, saved_steps
from weightatlas.lab.records import RunFolder
from weightatlas.lab.training import DEFAULT, Log, Training, evaluate_together, train
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from lightning_fabric import Fabric

    from weightatlas.data import Feed
    from weightatlas.evaluation import Data
    from weightatlas.evaluation.scoring import Score
    from weightatlas.lab.configuration import Configuration
    from weightatlas.result import Row

SAMPLE: Final = 2048
"""Training examples on which a finished network is scored, as it is scored on held-out data."""

HELD_OUT: Final = ("test", "val")
ALWAYS_TESTED: Final = ("cifar10:", "cifar100:")

PACKAGES: Final = ("torch", "lightning-fabric", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        configuration: what was run.
        folder: where it is kept.
        checkpoint: the last weights, a `.safetensors` file in it.
        steps: updates made.
        train_loss: in nats, on 2048 training examples at most, spread evenly over the data, in evaluation mode and
            without random augmentation.
        train_accuracy: top-1 on the same, 0 to 1.
        test_loss: on the held-out data; None without such data.
        test_accuracy: top-1 on the same.
        test_top5: top-5 on the same.
        parameters: of the network.
        seconds: spent on updates, over all resumptions.
        reused: whether it was there already, and not trained again.
    """

    configuration: Configuration
    folder: Path
    checkpoint: Path
    steps: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    test_top5: float | None
    parameters: int
    seconds: float
    reused: bool


def run(
    configuration: Configuration,
    folder: str | os.PathLike[str],
    *,
    devices: Devices = DEFAULT,
    loggers: tuple[Log, ...] = (),
    progress: Progress = silent,
) -> Run:
    """Train what a configuration says, and keep it in a folder.

    A run that has ended there is read back; one that was killed goes on from its newest checkpoint, to the same bits
    on the same machine. The folder holds `manifest.json` (configuration, versions, machine, data, the network's size
    and pools), `metrics.jsonl`, `checkpoints/`, `optimizer/` and, at the end, `result.json`.

    Args:
        configuration: what to run.
        folder: made if it is absent.
        devices: where to train.
        loggers: called with each row of metrics and its step.
        progress: called several times a second.

    Raises:
        SourceError: network or data cannot be opened or changed, the folder holds another run or another process
            trains in it, or the disk is full.
        DivergedError: the loss or a weight is no longer finite.
        OutOfMemoryError: a batch does not fit.

    Example:
        >>> import tempfile
        >>> from weightatlas.lab import Configuration, Recipe
        >>> model = "weightatlas:simplified?groups=small&width=0.25&input_size=24&classes=4"
        >>> configuration = Configuration(model=model, data="scenes", recipe=Recipe(steps=2, batch_size=8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run(configuration, folder).checkpoint.name
        'step-00000002.safetensors'
    """
    place = RunFolder(folder)
    fabric = open_fabric(devices, configuration.recipe.precision)
    with threads(configuration.recipe.threads), ExitStack() as held:
        first_alone(fabric, lambda: held.enter_context(place.held()))
        return _run(configuration, place, fabric, loggers, progress)


def _run(
    configuration: Configuration, folder: RunFolder, fabric: Fabric, loggers: tuple[Log, ...], progress: Progress
) -> Run:
    feed, held_out = open_feeds(configuration, device=str(fabric.device), processes=fabric.world_size)
    model = build(configuration, feed)
    first_alone(fabric, lambda: folder.claim(manifest(configuration, model, feed, held_out, fabric)))
    earlier = first_alone(fabric, folder.result)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if earlier is not None:
        return Run(
            configuration=configuration,
            folder=folder.path,
            checkpoint=folder.checkpoint(earlier["steps"]),
            reused=True,
            **earlier,
        )
    plan = make_plan(configuration.recipe, feed.examples, source=feed.name)
    with _read_ahead(feed, fabric) as ahead:
        training = train(
            model,
            ahead,
            configuration.recipe,
            seed=configuration.seed,
            held_out=held_out,
            folder=folder,
            saves=saved_steps(plan, configuration),
            keeps=kept_steps(plan, configuration.keep, configuration.every),
            devices=fabric,
            loggers=loggers,
            progress=progress,
        )
    sample = evaluate_together(fabric, model, feed, examples=SAMPLE)
    result = _result(training, sample, parameters)
    first_alone(fabric, lambda: folder.finish(result))
    return Run(
        configuration=configuration,
        folder=folder.path,
        checkpoint=folder.checkpoint(plan.steps),
        reused=False,
        **result,
    )


def open_feeds(configuration: Configuration, *, device: str = "cpu", processes: int = 1) -> tuple[Feed, Feed | None]:
    """Open the training data and what is held out, augmented as the configuration says.

    Args:
        configuration: names the data, their augmentation and their seed.
        device: where batches lie.
        processes: how many on this machine share the cores that decode images.

    Raises:
        SourceError: the data are not there, cannot be read, or are one split only, which is a test split.
    """
    seed = configuration.seed
    make = partial(
        feed_of,
        augmentation=configuration.augmentation,
        seed=seed,
        device=device,
        workers=max(1, int(joblib.cpu_count()) // processes),
    )
    # Of data whose training split is not whole the test split would be the only one, and be trained on.
    whole = configuration.data.startswith(ALWAYS_TESTED) and not _names_split(configuration)
    data = open_data(configuration.data, seed=seed, split="train" if whole else None)
    if configuration.held_out is not None:
        return make(data), make(open_data(configuration.held_out, seed=seed))
    held_out = _held_out(configuration, data)
    return make(data), None if held_out is None else make(held_out)


def build(configuration: Configuration, feed: Feed) -> torch.nn.Module:
    """Build the network that a configuration names, from its seed, with its interventions.

    Raises:
        SourceError: there is no such network, an intervention cannot be made, the network cannot take the data, or has
            too few classes for them, or they have none.
        ClassesError: what the network gives are no logits.
    """
    model = open_model(configuration.model, seed=configuration.seed)
    for name in configuration.interventions:
        model = intervene(model, name, input_size=feed.shape[-1], seed=configuration.seed)
    inputs, targets = next(iter(feed.in_order(1)))
    if targets.is_floating_point():
        problem = f"its targets are {str(targets.dtype).removeprefix('torch.')} and no classes"
        raise SourceError(feed.name, problem, "give each example the number of its class, an integer from 0")
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise SourceError(configuration.model, "it has no parameters", "there is nothing to train")
    try:
        with torch.no_grad():
            output = model.eval()(inputs.cpu().to(parameter.dtype))
    except Exception as error:  # the user's own code may raise anything
        problem = f"it cannot take inputs of {tuple(inputs.shape[1:])}, as {feed.name} has ({summary(error)})"
        raise SourceError(
            configuration.model, problem, "see its options after the ?, and ?size= of the data"
        ) from error
    logits = logits_of(output, torch.zeros_like(targets, device="cpu"))
    if feed.classes is not None and logits.shape[1] < feed.classes:
        problem = f"it tells {logits.shape[1]} classes apart, {feed.name} has {feed.classes}"
        raise SourceError(configuration.model, problem, "say how many: ?classes= or ?num_classes=")
    return model


def manifest(
    configuration: Configuration, model: torch.nn.Module, feed: Feed, held_out: Feed | None, fabric: Fabric
) -> dict[str, Any]:
    """Say what a run is: all that decides its numbers, and the machine it began on."""
    return {
        "configuration": configuration.to_dict(),
        "data": {
            "train": _described(feed),
            "held_out": None if held_out is None else _described(held_out),
        },
        "network": {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "trainable": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
            "pools": [list(pool) for pool in getattr(model, "pools", ())],
            "dropped_pools": list(getattr(model, "dropped_pools", ())),
            "map_size": getattr(model, "map_size", None),
        },
        "versions": {"weightatlas": weightatlas.__version__, "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "device": str(fabric.device),
            "processes": fabric.world_size,
        },
    }


def row_of(done: Run) -> Row:
    """Give a run as a row: what was run, and what it came to."""
    configuration = done.configuration
    return {
        "model": configuration.model,
        "data": configuration.data,
        "interventions": " ".join(configuration.interventions),
        "seed": configuration.seed,
        "steps": done.steps,
        "train_loss": done.train_loss,
        "train_accuracy": done.train_accuracy,
        "test_loss": done.test_loss,
        "test_accuracy": done.test_accuracy,
        "test_top5": done.test_top5,
        "parameters": done.parameters,
        "minutes": done.seconds / 60,
        "folder": str(done.folder),
        "checkpoint": str(done.checkpoint),
        "reused": done.reused,
        "skipped": None,
    }


@contextmanager
def _read_ahead(feed: Feed, fabric: Fabric) -> Iterator[Feed]:
    """The feed, its batches prepared ahead where they are decoded, or drawn on the processor for a GPU."""
    if not isinstance(feed, StreamedFeed) and not (isinstance(feed, SceneFeed) and fabric.device.type == "cuda"):
        yield feed
        return
    with Prefetched(feed) as ahead:
        yield ahead


def _described(feed: Feed) -> dict[str, Any]:
    return {
        "name": feed.name,
        "examples": feed.examples,
        "shape": list(feed.shape),
        "classes": feed.classes,
        "fingerprint": feed.fingerprint(),
        "skipped": len(feed.skipped),
        "notes": list(feed.notes),
    }


def _names_split(configuration: Configuration) -> bool:
    return "split=" in configuration.data.partition("?")[2]


def _held_out(configuration: Configuration, training: Data) -> Data | None:
    """The test or validation split of the training data, where there is one and the name says no split itself.

    Data that always have a test split, and cannot show it, are half there: that is an error. So are data of which the
    test split is all there is: nobody trains on it unless its name is said.
    """
    if _names_split(configuration):
        return None
    for split in HELD_OUT:
        try:
            data = open_data(configuration.data, seed=configuration.seed, split=split)
        except NoSplitError:
            if configuration.data.startswith(ALWAYS_TESTED):
                raise
            continue
        if isinstance(training.material, Examples) and isinstance(data.material, Examples):
            only = data.material.split
            if only is not None and only == training.material.split:
                problem = f"its only split is {only!r}, which is to be tested on"
                raise SourceError(configuration.data, problem, f"give the training data, or train on it: ?split={only}")
        return None if data.material is None else data  # the user's own batches know of no splits
    return None


def _result(training: Training, sample: Score, parameters: int) -> dict[str, Any]:
    score = training.score
    return {
        "steps": training.plan.steps,
        "train_loss": sample.loss,
        "train_accuracy": sample.accuracy,
        "test_loss": None if score is None else score.loss,
        "test_accuracy": None if score is None else score.accuracy,
        "test_top5": None if score is None else score.top5,
        "parameters": parameters,
        "seconds": round(training.seconds, 3),
    }
