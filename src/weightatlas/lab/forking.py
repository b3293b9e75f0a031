"""Forks of a run: the same up to a step and then another, or another from its first weights on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.data.feed import share
from weightatlas.data.seeds import derived_seed

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.data import Feed
    from weightatlas.data.feed import Batch

FORKED: Final = 4
"""Marks the seeds of forks: none is that of a pass, of its augmentation or of an update."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a run leaves the one with the same seed that is not forked, its trunk.

    The first `step` updates are the trunk's, bit for bit. From then on the order of the data (of scenes, the scenes
    themselves), their augmentation and what updates draw come from another seed, derived from the run's and this one.
    What is held out stays the trunk's, so that the two are tested on the same.

    Attributes:
        step: updates that are shared, 0 or more; with None the first weights are drawn anew too: an independent
            network of the same configuration.
        seed: tells the forks of one step from each other.

    **Source:** the instability analysis of Frankle, Dziugaite, Roy and Carbin, *Linear Mode Connectivity and the
    Lottery Ticket Hypothesis* (2020), section 2.

    Example:
        >>> fork = Fork(100)
        >>> fork.seed_at(99, seed=7), fork.seed_at(100, seed=7) == Fork(None).seed_at(0, seed=7)
        (7, True)
    """

    step: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: and says which field and what it may be.
        """
        if self.step is not None and (type(self.step) is not int or self.step < 0):
            message = f"the step of a fork must be a whole number, 0 or more, or None, not {self.step!r}"
            raise ValueError(message)
        if type(self.seed) is not int or self.seed < 0:
            message = f"the seed of a fork must be a whole number, 0 or more, not {self.seed!r}"
            raise ValueError(message)

    def seed_at(self, step: int, *, seed: int) -> int:
        """The seed of which update `step` draws, in a run with this seed."""
        return seed if self.step is not None and step < self.step else derived_seed(seed, FORKED, self.seed)

    def first_seed(self, *, seed: int) -> int:
        """The seed of which the first weights are drawn, in a run with this seed."""
        return seed if self.step is not None else self.seed_at(0, seed=seed)


class ForkedFeed:
    """A `Feed` that is one feed up to a place of the stream, and another from there on.

    In order, and in what it says of itself, it is the first.

    Args:
        trunk: the feed up to `start`.
        branch: the feed from there, of the same data.
        start: the first example of the stream that is the branch's.
    """

    def __init__(self, trunk: Feed, branch: Feed, start: int) -> None:
        self.trunk = trunk
        self.name = trunk.name
        self.shape = trunk.shape
        self.classes = trunk.classes
        self.examples = trunk.examples
        self.notes = trunk.notes
        self._branch = branch
        self._start = start

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read so far, each with its reason."""
        return tuple(dict.fromkeys((*self.trunk.skipped, *self._branch.skipped)))

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the examples `start` to `start + size` of the stream; see `Feed.batch`."""
        start, size = share(start, size, rank, ranks)
        before = min(max(self._start - start, 0), size)
        if before == size:
            return self.trunk.batch(start, size)
        after = self._branch.batch(start + before, size - before)
        if not before:
            return after
        first = self.trunk.batch(start, before)
        return torch.cat((first[0], after[0])), torch.cat((first[1], after[1]))

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through the examples of the trunk once in their own order; see `Feed.in_order`."""
        return self.trunk.in_order(size, at_most=at_most)

    def fingerprint(self) -> str:
        """Give a digest of what decides the trunk's data; see `Feed.fingerprint`."""
        return self.trunk.fingerprint()
