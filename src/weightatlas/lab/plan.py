"""The plan of a run: which examples each update sees, and after which updates a checkpoint is written."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Final

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.lab.configuration import Configuration, Keep, Recipe
    from weightatlas.lab.forking import Fork

SAVES: Final = 20
"""A run is saved at least this often, so that a kill costs a twentieth of it at most."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Updates in a row that see batches of one size."""

    first_step: int
    first_example: int
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All updates of a run, as a function of their number.

    Attributes:
        steps: how many there are.
        stretches: where the size of batches changes; the first begins at 0.
        examples: in one pass over the data; None where the data have no end.
    """

    steps: int
    stretches: tuple[Stretch, ...]
    examples: int | None

    def batch(self, step: int) -> tuple[int, int]:
        """Give how many examples were seen before an update, and how many it sees."""
        starts = [stretch.first_step for stretch in self.stretches]
        stretch = self.stretches[bisect_right(starts, step) - 1]
        return stretch.first_example + (step - stretch.first_step) * stretch.size, stretch.size

    def epoch(self, step: int) -> float | None:
        """Give how many passes over the data have been made after `step` updates; None where they have no end."""
        return None if self.examples is None else self.batch(step)[0] / self.examples

    def ends_of_epochs(self) -> tuple[int, ...]:
        """Give the numbers of updates after which a pass is complete, in order; the end of the run is one."""
        ends = []
        passes = 0
        for step in range(1, self.steps + 1):
            done = self.epoch(step)
            if done is not None and floor(done) > passes:
                passes = floor(done)
                ends.append(step)
        return tuple(dict.fromkeys((*ends, self.steps)))


def make_plan(recipe: Recipe, examples: int | None, *, source: str = "data") -> Plan:
    """Plan a recipe on data of `examples` examples a pass.

    Passes follow each other without a gap: a batch may hold the end of one and the beginning of the next, and what is
    left at the end of the run and fills no batch is not seen.

    Raises:
        SourceError: epochs are asked for of data without an end, or the data do not fill one batch.

    Example:
        >>> from weightatlas.lab import Recipe
        >>> plan = make_plan(Recipe(epochs=3, batch_size=512, batch_schedule=((1, 1024),)), 50_000)
        >>> plan.steps, plan.batch(96), plan.batch(97)
        (194, (49152, 512), (49664, 1024))
    """
    if recipe.steps is None and recipe.epochs is None:
        problem = "how long to train on it is not said"
        raise SourceError(source, problem, "give --steps or --epochs")
    if examples is None and (recipe.epochs is not None or recipe.batch_schedule):
        problem = "it is drawn without end, so it has no epochs"
        raise SourceError(source, problem, "give --steps instead of --epochs, and no batch schedule")
    stretches = [Stretch(0, 0, recipe.batch_size)]
    for epoch, size in recipe.batch_schedule:
        last = stretches[-1]
        fits = max(0, floor((epoch * (examples or 0) - last.first_example) / last.size))
        stretches.append(Stretch(last.first_step + fits, last.first_example + fits * last.size, size))
    if recipe.steps is not None:
        steps = recipe.steps
    else:
        last = stretches[-1]
        whole = round((recipe.epochs or 0) * (examples or 0))
        if whole < last.first_example:
            message = "the batch schedule begins after the last epoch"
            raise SourceError(source, message, "give --epochs beyond it")
        steps = last.first_step + (whole - last.first_example) // last.size
    if steps < 1:
        problem = f"its {examples} examples fill no batch of {recipe.batch_size}"
        raise SourceError(source, problem, "lower --batch-size, or raise --epochs")
    return Plan(steps, tuple(stretches), examples)


def kept_steps(plan: Plan, keep: Keep, every: int | None, fork: Fork | None = None) -> frozenset[int]:
    """Give the numbers of updates after which a checkpoint is kept; the end of the run is always one, a fork another.

    Example:
        >>> sorted(kept_steps(Plan(10, (Stretch(0, 0, 4),), None), "log", 5))
        [0, 1, 2, 4, 5, 8, 10]
    """
    steps = {plan.steps}
    if keep == "log":
        steps |= {0} | {2**power for power in range(plan.steps.bit_length()) if 2**power <= plan.steps}
    elif keep == "epochs":
        steps |= {0, *plan.ends_of_epochs()}
    if every is not None:
        steps |= set(range(0, plan.steps + 1, every))
    if fork is not None:
        steps |= {0 if fork.step is None else fork.step}
    return frozenset(steps)


def saved_steps(plan: Plan, configuration: Configuration) -> frozenset[int]:
    """Give the numbers of updates after which a run is saved so that it can go on from there."""
    kept = kept_steps(plan, configuration.keep, configuration.every, configuration.fork)
    spacing = configuration.save_every or max(1, plan.steps // SAVES)
    return kept | frozenset(range(spacing, plan.steps + 1, spacing))
