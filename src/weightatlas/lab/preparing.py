"""What a run needs before it begins: its data, what is held out, its network, each seen to fit the others."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import joblib
import torch

from weightatlas.checkpoints.untrusted import summary
from weightatlas.data import Examples, NoSplitError, Prefetched, SceneFeed, Scenes, StreamedFeed
from weightatlas.errors import SourceError
from weightatlas.evaluation import feed_of, open_data, open_model
from weightatlas.evaluation.scoring import logits_of
from weightatlas.lab.forking import ForkedFeed
from weightatlas.lab.interventions import intervene
from weightatlas.lab.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning_fabric import Fabric

    from weightatlas.data import Feed
    from weightatlas.evaluation import Data
    from weightatlas.lab.configuration import Configuration

HELD_OUT: Final = ("test", "val")
ALWAYS_TESTED: Final = ("cifar10:", "cifar100:")


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
        device=device,
        workers=max(1, int(joblib.cpu_count()) // processes),
    )
    # Of data whose training split is not whole the test split would be the only one, and be trained on.
    whole = configuration.data.startswith(ALWAYS_TESTED) and not _names_split(configuration)
    data = open_data(configuration.data, seed=seed, split="train" if whole else None)
    opened = configuration.held_out
    held_out = _held_out(configuration, data) if opened is None else open_data(opened, seed=seed)
    feed = _forked(configuration, data, make) if configuration.fork is not None else make(data, seed=seed)
    return feed, None if held_out is None else make(held_out, seed=seed)


def build(configuration: Configuration, feed: Feed) -> torch.nn.Module:
    """Build the network that a configuration names, from its seed, with its interventions.

    Raises:
        SourceError: there is no such network, an intervention cannot be made, the network cannot take the data, or has
            too few classes for them, or they have none.
        ClassesError: what the network gives are no logits.
    """
    model = open_model(configuration.model, seed=configuration.first_seed)
    for name in configuration.interventions:
        model = intervene(model, name, input_size=feed.shape[-1], seed=configuration.first_seed)
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


@contextmanager
def read_ahead(feed: Feed, fabric: Fabric) -> Iterator[Feed]:
    """Give the feed, its batches prepared ahead where they are decoded, or drawn on the processor for a GPU."""
    kind = feed.trunk if isinstance(feed, ForkedFeed) else feed
    if not isinstance(kind, StreamedFeed) and not (isinstance(kind, SceneFeed) and fabric.device.type == "cuda"):
        yield feed
        return
    with Prefetched(feed) as ahead:
        yield ahead


def _forked(configuration: Configuration, data: Data, make: Callable[..., Feed]) -> Feed:
    """The training data of a forked run: up to the fork the trunk's stream, from there on another of the same data.

    Scenes are drawn from a seed; of all else the examples stay, and their order and augmentation are others.
    """
    fork, seed = configuration.fork, configuration.seed
    if data.material is None or fork is None:
        problem = "batches of your own come in an order of their own, which a fork cannot change"
        raise SourceError(configuration.data, problem, "give a folder, Parquet or an .npz, or no fork")
    other = fork.seed_at(fork.step or 0, seed=seed)
    if isinstance(data.material, Scenes):
        branch = make(open_data(configuration.data, seed=other), seed=other)
    else:
        branch = make(data, seed=other)
    if fork.step is None:
        return branch
    trunk = make(data, seed=seed)
    plan = make_plan(configuration.recipe, trunk.examples, source=trunk.name)
    if fork.step >= plan.steps:
        problem = f"a fork at step {fork.step} leaves nothing of a run of {plan.steps}"
        raise SourceError(configuration.data, problem, f"fork before step {plan.steps}")
    return ForkedFeed(trunk, branch, plan.batch(fork.step)[0])


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
