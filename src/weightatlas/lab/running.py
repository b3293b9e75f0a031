"""One run from its configuration: network, interventions, data, training, scores; kept in a folder and resumed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.lab.devices import Devices, first_alone, open_fabric, threads
from weightatlas.lab.manifest import manifest
from weightatlas.lab.plan import kept_steps, make_plan, saved_steps
from weightatlas.lab.preparing import build, open_feeds, read_ahead
from weightatlas.lab.records import RunFolder
from weightatlas.lab.training import DEFAULT, Log, Training, evaluate_together, train
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from lightning_fabric import Fabric

    from weightatlas.evaluation.scoring import Score
    from weightatlas.lab.configuration import Configuration
    from weightatlas.result import Row

SAMPLE: Final = 2048
"""Training examples on which a finished network is scored, as it is scored on held-out data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        configuration: what was run.
        folder: where it is kept.
        checkpoint: the last weights, a `.safetensors` file in it.
        steps: updates made, fewer than were planned where the run was stopped early.
        train_loss: in nats, on 2048 training examples at most, spread evenly over the data, in evaluation mode and
            without random augmentation.
        train_accuracy: top-1 on the same, 0 to 1.
        test_loss: on the held-out data; None without such data.
        test_accuracy: top-1 on the same.
        test_top5: top-5 on the same.
        train_top5: top-5 on the training examples; None of a run that was kept before this was measured.
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
    train_top5: float | None = None


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
    with read_ahead(feed, fabric) as ahead:
        training = train(
            model,
            ahead,
            configuration.recipe,
            seed=configuration.seed,
            fork=configuration.fork,
            stop=configuration.stop_rule,
            held_out=held_out,
            folder=folder,
            saves=saved_steps(plan, configuration),
            keeps=kept_steps(plan, configuration.keep, configuration.every, configuration.fork),
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
        checkpoint=folder.checkpoint(training.plan.steps),
        reused=False,
        **result,
    )


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


def _result(training: Training, sample: Score, parameters: int) -> dict[str, Any]:
    score = training.score
    return {
        "steps": training.plan.steps,
        "train_loss": sample.loss,
        "train_accuracy": sample.accuracy,
        "train_top5": sample.top5,
        "test_loss": None if score is None else score.loss,
        "test_accuracy": None if score is None else score.accuracy,
        "test_top5": None if score is None else score.top5,
        "parameters": parameters,
        "seconds": round(training.seconds, 3),
    }
