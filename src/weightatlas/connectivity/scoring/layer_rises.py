"""How the loss rises while some of the layers go from one network's weights to another's, or in a random direction."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightatlas.connectivity.scoring.heights import band_of_maximum, reference_line

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from weightatlas.connectivity.scoring.hybrids import Hybrids
    from weightatlas.evaluation.example_scores import ExampleScores
    from weightatlas.evaluation.states import State

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rise:
    """Losses and errors on a way, each (points, examples).

    Attributes:
        alphas: (points,), from 0 to 1.
        losses: of the examples.
        errors: of the examples.
    """

    alphas: Array
    losses: Array
    errors: Array

    @classmethod
    def of(cls, alphas: Array, scores: Sequence[ExampleScores]) -> Rise:
        """Put the scores of all points together."""
        return cls(alphas, np.stack([one.losses for one in scores]), np.stack([one.errors for one in scores]))

    @property
    def above(self) -> Array:
        """Losses above their own chord, (points, examples)."""
        return self.losses - reference_line(self.losses, self.alphas, "chord")

    @property
    def height(self) -> float:
        """Of the mean loss above its own chord; NaN where a point is not finite."""
        return float(self.above.mean(axis=1).max())

    @property
    def error_height(self) -> float:
        """The same of the error."""
        return float((self.errors - reference_line(self.errors, self.alphas, "chord")).mean(axis=1).max())

    def height_above(self, start: float, end: float) -> float:
        """Of the mean loss above a chord from one value to another."""
        return float((self.losses.mean(axis=1) - start - self.alphas * (end - start)).max())


class LayerRises:
    """Measures ways of groups of tensors from either of two networks to the other.

    Attributes:
        alphas: (points,), of every way.
    """

    def __init__(
        self,
        hybrids: Hybrids,
        ends: tuple[State, State],
        groups: Sequence[Collection[str]],
        alphas: Array,
        *,
        seed: int,
    ) -> None:
        """Hold both networks and what runs those between."""
        self.alphas = alphas
        self._hybrids, self._ends, self._groups, self._seed = hybrids, ends, groups, seed

    def ways(self, members: Collection[int]) -> tuple[Rise, Rise]:
        """Some of the groups on their way from the first network to the second, in the first; and back, in the second.

        Args:
            members: places of these groups.
        """
        found = []
        for second in (False, True):
            rest = float(second)
            start = (rest,) * len(self._groups)
            end = tuple(1 - rest if place in members else rest for place in range(len(self._groups)))
            scores = [self._hybrids.score(start, end, float(alpha)) for alpha in self.alphas]
            found.append(Rise.of(self.alphas, scores))
        return found[0], found[1]

    def random_height(self, members: Collection[int], parameters: Collection[str], direction: int) -> float:
        """The mean height of both ways, where parameters go in a random direction and buffers as between the networks.

        Args:
            members: places of the groups.
            parameters: names of those among their tensors that go in a random direction, as far as between the
                networks each.
            direction: its number; with the tensor's name and the seed it fixes the direction.
        """
        names = [name for place in sorted(members) for name in self._groups[place]]
        first, second = self._ends
        way = {name: second[name] - first[name] for name in names}
        if not any(bool(part.any()) for part in way.values()):
            return 0.0
        shift = {
            name: self._random(name, part, direction) if name in parameters else part for name, part in way.items()
        }
        start = (0.0,) * len(self._groups), (1.0,) * len(self._groups)
        heights = []
        for back in (False, True):
            at_rest = self._hybrids.score(start[back], start[back], 0)
            moved = {name: -part if back else part for name, part in shift.items()}
            scores = self._hybrids.score_shifted(moved, self.alphas[1:].tolist(), second=back)
            heights.append(Rise.of(self.alphas, [at_rest, *scores]).height)
        return sum(heights) / 2

    def _random(self, name: str, way: torch.Tensor, direction: int) -> torch.Tensor:
        """A direction, isotropic, of the same length."""
        number = np.random.SeedSequence([self._seed, direction, zlib.crc32(name.encode())]).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(number))
        drawn = torch.randn(way.shape, generator=generator).to(way.device)
        length = torch.linalg.vector_norm(way.to(drawn))
        scaled: torch.Tensor = drawn * (length / torch.linalg.vector_norm(drawn))
        return scaled


def interval_of_mean_height(one: Rise, other: Rise, *, confidence: float, seed: int) -> tuple[float, float]:
    """An interval over the data for the mean of two heights.

    The mean of two maxima is the maximum, over all pairs of points, of the mean of both: `band_of_maximum` of these.
    """
    pairs = (one.above[:, None] + other.above[None]).reshape(-1, one.above.shape[1]) / 2
    if not np.isfinite(pairs).all():
        return float("nan"), float("nan")
    return band_of_maximum(pairs, confidence=confidence, seed=seed)
