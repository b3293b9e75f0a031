"""One visible loop that trains a classifier, on Lightning Fabric: seeded, saved as it goes, resumed bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch.nn import functional

from weightatlas.data.seeds import derived_seed
from weightatlas.errors import SourceError
from weightatlas.evaluation.scoring import Score, in_full, logits_of, score_sums
from weightatlas.lab.breakdown import broken_down, check_weights
from weightatlas.lab.devices import Devices, first_alone, open_fabric, over_processes, quiet_fabric
from weightatlas.lab.journal import Journal
from weightatlas.lab.optimisation import make_optimizer, rates, set_rates
from weightatlas.lab.plan import Plan, kept_steps, make_plan
from weightatlas.lab.unused import freeze_unused
from weightatlas.nn import synchronised
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from lightning_fabric import Fabric

    from weightatlas.data import Feed
    from weightatlas.lab.configuration import Recipe
    from weightatlas.lab.forking import Fork
    from weightatlas.lab.records import RunFolder
    from weightatlas.lab.stopping import StopRule
    from weightatlas.result import Row

Log = Callable[[Mapping[str, Any], int], None]
EVALUATION_BATCH: Final = 256
DEFAULT: Final = Devices()
UPDATE: Final = 2
"""Marks the seeds of updates: none is that of a pass or of its augmentation."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """How a run went.

    Attributes:
        plan: the updates that were made; those after an early stop are left out.
        losses: float64, (steps,): mean cross-entropy of each batch before its update, in nats, label smoothing
            included.
        seconds: spent on updates, over all resumptions; evaluation and saving left out.
        score: on the held-out data at the end; None without such data.
    """

    plan: Plan
    losses: npt.NDArray[np.float64]
    seconds: float
    score: Score | None


def train(
    model: torch.nn.Module,
    feed: Feed,
    recipe: Recipe,
    *,
    seed: int = 0,
    fork: Fork | None = None,
    stop: StopRule | None = None,
    held_out: Feed | None = None,
    folder: RunFolder | None = None,
    saves: frozenset[int] = frozenset(),
    keeps: frozenset[int] | None = None,
    devices: Devices | Fabric = DEFAULT,
    loggers: Sequence[Log] = (),
    progress: Progress = silent,
) -> Training:
    """Train a classifier in place on cross-entropy, and leave it in evaluation mode.

    Update k sees the examples that the plan names, draws its random numbers (augmentation, dropout) from (seed, k,
    rank) and takes its learning rate from k: nothing depends on what ran before but weights and the optimiser's state.
    So a run that goes on from a checkpoint gives the same bits, on one machine with one number of threads, and several
    processes see the batches that one would, each its share.

    Args:
        model: inputs to logits (batch, classes), or (batch, classes, positions) of which each has a target; or to an
            object with `logits`.
        feed: the training data.
        recipe: how to train.
        seed: fixes what training draws; torch's generator is left as it was. Model and feed have seeds of their own.
        fork: from which update on it is fixed by the fork instead; the feed is to be a forked one too.
        stop: when to end before the last update; what is held out is scored whenever it looks. A run that goes on
            from a checkpoint stops where it would have.
        held_out: data to score at every checkpoint that is kept, and at the end.
        folder: where the run is kept, already held; a run that lies there goes on. None keeps nothing.
        saves: after how many updates to save, so that a killed run can go on; the end is one of them.
        keeps: after how many updates to save a checkpoint that stays; None is the end only.
        devices: where to train, a GPU where there is one if left out; an open Fabric is used as it is.
        loggers: called with each row of metrics and its step.
        progress: called several times a second, with the loss.

    Raises:
        DivergedError: the loss or a weight is NaN or infinite; the last good checkpoint is kept.
        OutOfMemoryError: a batch does not fit; the message says what to lower.
        SourceError: the plan does not fit the data or the processes, the folder's state does not fit the network,
            nothing more can be written there, or there is a rule to stop by and nothing is held out.
        ClassesError: what the network gives are no logits.

    Example:
        >>> from weightatlas.data import SceneFeed, Scenes
        >>> from weightatlas.lab import Recipe
        >>> from weightatlas.nn import SMALL, SimplifiedNetwork
        >>> model = SimplifiedNetwork(SMALL, width=0.125, input_size=24, classes=4)
        >>> train(model, SceneFeed(Scenes("top")), Recipe(steps=3, batch_size=8)).losses.shape
        (3,)
    """
    fabric = open_fabric(devices, recipe.precision) if isinstance(devices, Devices) else devices
    plan = make_plan(recipe, feed.examples, source=feed.name)
    if any(stretch.size < fabric.world_size for stretch in plan.stretches):
        problem = f"a batch has fewer examples than the {fabric.world_size} processes"
        raise SourceError(feed.name, problem, "raise --batch-size, or lower --devices")
    if stop is not None and held_out is None:
        problem = "the run is to stop by what is held out, and nothing is"
        raise SourceError(feed.name, problem, "give --held-out, or drop --stop")
    journal = Journal(fabric, folder, loggers, plan, progress)
    keeps = kept_steps(plan, "last", None) if keeps is None else keeps
    run = _Run(
        fabric=fabric,
        model=model,
        feed=feed,
        held_out=held_out,
        recipe=recipe,
        plan=plan,
        seed=seed,
        fork=fork,
        stop=stop,
        folder=folder,
        keeps=keeps,
        journal=journal,
    )
    with _own_random_state(fabric):
        first = run.resume()
        run.network.train()
        for step in range(first, run.plan.steps):
            with broken_down(step, plan.batch(step)[1], recipe.accumulate, folder):
                loss, learning_rate = run.update(step)
                journal.note(step + 1, loss, learning_rate)
            ended = run.look(step + 1)
            if ended or step + 1 in keeps or step + 1 in saves:
                run.save(step + 1)
            if ended:
                break
        score = run.final_score()
    run.leave(model)
    return Training(run.plan, journal.losses()[: run.plan.steps], journal.seconds, score)


@dataclass(slots=True, kw_only=True, eq=False)
class _Run:
    """A model, its optimiser and its data, set up on the devices."""

    fabric: Fabric
    model: torch.nn.Module
    feed: Feed
    held_out: Feed | None
    recipe: Recipe
    plan: Plan
    seed: int
    fork: Fork | None
    stop: StopRule | None
    folder: RunFolder | None
    keeps: frozenset[int]
    journal: Journal
    optimizer: torch.optim.Optimizer = field(init=False)
    network: Any = field(init=False)
    trained: Any = field(init=False)
    scored: tuple[int, Score | None] = field(init=False, default=(-1, None))
    told: int = field(init=False, default=-1)
    looks: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        recipe = self.recipe
        if recipe.synchronise and self.fabric.world_size > 1:
            try:
                self.model = synchronised(self.model)
            except ValueError as error:
                raise SourceError(type(self.model).__name__, str(error), "drop --synchronise") from error
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.model.parameters(), recipe)
        if self.fabric.world_size > 1:  # afterwards: its state is to be that of a process alone
            freeze_unused(self.model, self.feed.batch(0, 2))
        with quiet_fabric():
            network = cast("torch.nn.Module", torch.compile(self.model)) if recipe.compile else self.model
            self.network, self.trained = self.fabric.setup(network, self.optimizer)

    def update(self, step: int) -> tuple[torch.Tensor, float]:
        """Make one update; gives this process's share of the loss, on its device, and the learning rate."""
        fabric, recipe = self.fabric, self.recipe
        start, size = self.plan.batch(step)
        now = rates(recipe, step, self.plan.steps)
        set_rates(self.optimizer, now)
        _seed_update(self.seed if self.fork is None else self.fork.seed_at(step, seed=self.seed), step, fabric)
        inputs, targets = self.feed.batch(start, size, rank=fabric.global_rank, ranks=fabric.world_size)
        inputs, targets = inputs.to(fabric.device, non_blocking=True), targets.to(fabric.device, non_blocking=True)
        if recipe.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self.trained.zero_grad()
        total = torch.zeros((), device=fabric.device)
        # As many parts in every process, whatever its share: batch norms that are synchronised wait for each other.
        parts = min(recipe.accumulate, size // fabric.world_size)
        for part, (images, answers) in enumerate(
            zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)
        ):
            with nullcontext() if part == parts - 1 else fabric.no_backward_sync(self.network):
                with fabric.autocast():  # Fabric casts what comes out to torch's default type, here the precision's own
                    logits = in_full(logits_of(self.network(images), answers))
                # DDP takes the mean over processes: each gives its share of the sum, whatever its share of the batch.
                loss = functional.cross_entropy(
                    logits, answers, label_smoothing=recipe.label_smoothing, reduction="sum"
                ) * (fabric.world_size / (size * answers[0].numel()))
                fabric.backward(loss)
            total = total + loss.detach()
        if recipe.clip is not None:
            fabric.clip_gradients(self.network, self.trained, max_norm=recipe.clip, error_if_nonfinite=False)
        self.trained.step()
        return total, now.learning_rate

    def resume(self) -> int:
        """Load the newest state of the folder, or save the first; gives how many updates it has seen."""
        if self.folder is None:
            return 0
        folder = self.folder
        saved = first_alone(self.fabric, folder.saved)  # it may have changed by the time that another looks
        if not saved:
            self.journal.rewind(-1, 0.0)
            if 0 in self.keeps:
                self.save(0)
            return 0
        step = saved[-1]
        if step > self.plan.steps:
            problem = f"it is at step {step} of a run of {self.plan.steps}"
            raise SourceError(folder.path, problem, "name another folder")
        record = folder.load(step, self.model, self.optimizer)
        self.fabric.strategy.precision.load_state_dict(record["precision"])
        self.looks = record.get("looks", 0)
        if self.stop is not None and self.looks >= self.stop.held:  # it was stopped, and killed before it said so
            self.plan = replace(self.plan, steps=step)
        self.journal.rewind(step, record["seconds"])
        first_alone(self.fabric, lambda: self._forget(folder, step))  # the kill may have come before it
        return step

    def look(self, step: int) -> bool:
        """Whether the run ends here: its plan does, or the rule to stop by says so; the plan ends here then."""
        rule = self.stop
        if rule is not None and rule.looks(step):
            self.journal.flush()
            check_weights(self.model, step, self.folder)
            score = self._score()
            self.scored = step, score
            self.looks = 0 if score is None else rule.count(self.looks, score)
            first_alone(self.fabric, lambda: self._tell(step))
            if self.looks >= rule.held:
                self.plan = replace(self.plan, steps=step)
            self.journal.pause()
        return step == self.plan.steps

    def save(self, step: int) -> None:
        """Write a checkpoint, once for all processes, and score it where it is to be kept."""
        self.journal.flush()
        check_weights(self.model, step, self.folder)
        if self.folder is not None:
            if step in self.keeps and self.scored[0] != step:
                self.scored = step, self._score()
            folder = self.folder
            first_alone(self.fabric, lambda: self._write(folder, step))
        self.journal.pause()

    def _write(self, folder: RunFolder, step: int) -> None:
        self._tell(step)  # first: a run that is killed in between goes on from before, and drops it
        record = {"seconds": self.journal.seconds, "precision": self.fabric.strategy.precision.state_dict()}
        if self.stop is not None:
            record["looks"] = self.looks
        folder.save(step, self.model, self.optimizer.state_dict(), record)
        self._forget(folder, step)

    def _tell(self, step: int) -> None:
        """Write the score of this step, once; in the first process."""
        if self.scored[0] == step != self.told and self.scored[1] is not None:
            self.told = step
            self.journal.write([{"step": step, **score_row(self.scored[1])}])

    def _forget(self, folder: RunFolder, step: int) -> None:
        with folder.writing("what is left"):
            folder.forget(after=step, keep=self.keeps, spare=int(step < self.plan.steps))

    def final_score(self) -> Score | None:
        """Score the network at the end, unless that was done when it was saved."""
        return self.scored[1] if self.scored[0] == self.plan.steps else self._score()

    def leave(self, model: torch.nn.Module) -> None:
        """Give the weights to the model that was to be trained, where a copy was, and leave it in evaluation mode."""
        if self.model is not model:
            model.to(next(self.model.parameters())).load_state_dict(self.model.state_dict())
        model.eval()

    def _score(self) -> Score | None:
        return None if self.held_out is None else evaluate_together(self.fabric, self.model, self.held_out)


def evaluate_together(fabric: Fabric, model: torch.nn.Module, feed: Feed, *, examples: int | None = None) -> Score:
    """Score a classifier on so many examples of a feed at most, or on all, each process its share of the batches."""
    precision = fabric.strategy.precision
    every = feed.in_order(EVALUATION_BATCH, at_most=examples)
    batches = islice(every, fabric.global_rank, None, fabric.world_size)
    converted = ((precision.convert_input(inputs), targets) for inputs, targets in batches)
    sums = score_sums(model, converted, within=precision.forward_context)
    loss, first, five, seen = over_processes(fabric, sums, "sum").tolist()
    return Score(loss / seen, first / seen, five / seen, int(seen))


def score_row(score: Score) -> Row:
    """A score as fields of a row of metrics."""
    return {"test_loss": score.loss, "test_accuracy": score.accuracy, "test_top5": score.top5}


def _seed_update(seed: int, step: int, fabric: Fabric) -> None:
    """Seed torch's generators, on the processor and on this process's device, for one update."""
    state = derived_seed(seed, UPDATE, step, fabric.global_rank)
    torch.default_generator.manual_seed(state)  # `torch.manual_seed` also formats a stack for GPUs that are not there
    if fabric.device.type == "cuda":
        torch.cuda.manual_seed(state)
    elif fabric.device.type == "mps":
        torch.mps.manual_seed(state)


def _own_random_state(fabric: Fabric) -> AbstractContextManager[None]:
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    return torch.random.fork_rng(devices=devices)
