"""How each family recurs over runs whose branches are matched, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import false_discovery_control

from weightatlas.branching.gathering.branch_matching import Matched, most_alike, places_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ALONE: Final = 0.05
"""p below which a run, by itself, took a family as the others did."""

TIE: Final = 1e-12
"""By which rounding may set two equal strengths apart; a tie counts as a hit."""


@dataclass(frozen=True, slots=True, eq=False)
class Recurrence:
    """How one family, or one figure, recurs.

    Attributes:
        family: its name.
        branch: the branch of the reference run that took it most.
        runs_agreeing: in how many runs the branch matched to that one took it most, the reference among them.
        runs_significant: how many runs, each by itself, took it as the others did (p < .05).
        agreement: share of pairs of runs in which the branches that took it most are matched to each other.
        agreement_null: the same where no run specialises, on average: never 0, since matching seeks what is alike.
        strength: how far matched branches took it, or left it, together; 0 where nothing recurs.
        null_mean: of the strength, where no run specialises.
        null_std: of the strength, there.
        p_value: that fewer than two runs took it alike.
        q_value: the same, adjusted over all families.
    """

    family: str
    branch: str
    runs_agreeing: int
    runs_significant: int
    agreement: float
    agreement_null: float
    strength: float
    null_mean: float
    null_std: float
    p_value: float
    q_value: float


@dataclass(frozen=True, slots=True, eq=False)
class MatchedRuns:
    """All pairs of runs, matched.

    Attributes:
        families: that all runs have.
        taken: for each run (draws, branches, families); the first draw is what was observed.
        pairs: of runs.
        alone: (runs, families) p of each run, permuted alone.
    """

    families: tuple[str, ...]
    taken: list[Array]
    pairs: Mapping[tuple[int, int], Matched]
    alone: Array

    @property
    def strength(self) -> Array:
        """(draws, families), mean over pairs."""
        strength: Array = np.mean([pair.strength for pair in self.pairs.values()], axis=0)
        return strength

    @property
    def agreement(self) -> Array:
        """(draws, families), share of pairs."""
        agreement: Array = np.mean([pair.agreement for pair in self.pairs.values()], axis=0)
        return agreement

    @property
    def reference(self) -> int:
        """The run most like the others."""
        return most_alike(self.pairs, len(self.taken))

    @property
    def places(self) -> list[npt.NDArray[np.int64]]:
        """Of each run, for each branch that of the reference."""
        reference = self.reference
        return [places_in(self.pairs, run, reference, each.shape[1]) for run, each in enumerate(self.taken)]

    def recurrences(self, branches: Sequence[str]) -> tuple[Recurrence, ...]:
        """One for each family; the reference has these branches."""
        strength, agreement, places = self.strength, self.agreement, self.places
        first = [taken[0].argmax(axis=0) for taken in self.taken]
        wanted = first[self.reference]
        agreeing = np.sum([place[top] == wanted for place, top in zip(places, first, strict=True)], axis=0)
        p_values = np.minimum(1.0, (len(self.alone) - 1) * np.sort(self.alone, axis=0)[1])
        q_values = false_discovery_control(p_values)
        return tuple(
            Recurrence(
                family=family,
                branch=branches[wanted[place]],
                runs_agreeing=int(agreeing[place]),
                runs_significant=int(np.count_nonzero(self.alone[:, place] < ALONE)),
                agreement=float(agreement[0, place]),
                agreement_null=float(agreement[1:, place].mean()),
                strength=float(strength[0, place]),
                null_mean=float(strength[1:, place].mean()),
                null_std=float(strength[1:, place].std()),
                p_value=float(p_values[place]),
                q_value=float(q_values[place]),
            )
            for place, family in enumerate(self.families)
        )


def strength_p_values(strength: Array) -> Array:
    """One-sided p of the first row among all, a column each."""
    hits = np.count_nonzero(strength[1:] >= strength[0] - TIE, axis=0)
    p_values: Array = (1 + hits) / len(strength)
    return p_values
