"""Claims that directions are free, tried on the outputs: what fails is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.degeneracy.ranking.checking import changes, largest_singular_value
from weightatlas.evaluation.held_batches import HeldBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.degeneracy.ranking.free_directions import Claim, FreeDirections
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap

    Moved = Callable[[torch.Tensor], torch.Tensor]

EXAMPLES: Final = 128
"""That tell what is steepest."""

FIRST: Final = (8, 32, EXAMPLES)
"""That are gone through before all are: what is free is so on any, and most of what is not fails on the first."""

NUMBERS: Final = 2**27
"""Of directions that are followed at once: 1 GiB."""


@dataclass(frozen=True, slots=True, eq=False)
class Withdrawn:
    """What is left of the claims.

    Attributes:
        free: the directions of the claims that hold, with a note for each that was withdrawn.
        count: how many combinations of these were followed.
        largest: the largest |J v| / |v| of these, in units of the largest singular value of J; 0 where nothing is left.
    """

    free: FreeDirections
    count: int
    largest: float


def withdrawn(
    network: ParameterMap,
    held: HeldBatches,
    found: FreeDirections,
    *,
    tolerance: float,
    steepest: tuple[torch.Tensor, float] | None = None,
    checks: int = 1,
    seed: int = 0,
) -> Withdrawn:
    r"""Follow all that is claimed on all data, and withdraw every kind of every layer that is not free.

    A claim is that all directions of one kind in one layer are free. Were one of them not, a random combination v of
    them would not be, with probability 1. A claim holds where \(|J v| \le \text{tolerance} \cdot \sigma_1(J) |v|\): by
    the same bound a singular value of J counts as 0, so that what holds is among the exact number. The sum of the
    combinations of all claims is followed first, each of length 1; only where the outputs change by more along it
    it is halved, and so on to the claims that fail by themselves. These are withdrawn whole, though some of their
    directions may be free: which is not known.

    Without J's factor the first `EXAMPLES` give the largest singular value per root of examples. What fails is looked
    for on the `FIRST` of them, where outputs that change by more than all may do are proof; all data are gone through
    once with what is left, several times only if that fails.

    Args:
        network: whose outputs they are.
        held: all data.
        found: the claims.
        tolerance: the bound, relative to the largest singular value.
        steepest: R with \(R^\top R = J^\top J\), and the largest singular value; None where there is no R.
        checks: how many combinations are drawn of every claim.
        seed: of these.
    """
    generator = torch.Generator().manual_seed(seed)
    if not found.claims(generator):
        return Withdrawn(found, 0, 0.0)
    trials = _on_data(network, held, tolerance, seed) if steepest is None else [(_by_factor(*steepest), tolerance)]
    held_up: list[float] = []
    for _ in range(checks):
        for number, (moved, bound) in enumerate(trials, start=1):
            failed, kept = _tried(network, found.claims(generator), moved, bound)
            found = found.without(failed) if failed else found
            held_up += kept if number == len(trials) else ()
    return Withdrawn(found, len(held_up), max(held_up, default=0.0))


def _by_factor(factor: torch.Tensor, largest: float) -> Moved:
    def moved(rows: torch.Tensor) -> torch.Tensor:
        return _shares((factor @ rows.mT).norm(dim=0), largest)

    return moved


def _on_data(network: ParameterMap, held: HeldBatches, tolerance: float, seed: int) -> list[tuple[Moved, float]]:
    """How far outputs change on more and more data, per root of examples, and the share by which they may."""
    sizes = [size for size in FIRST if size < held.examples]
    parts = [HeldBatches(held, examples=size, device=network.device) for size in sizes] + [held]
    first = next(part for part in reversed(parts) if part.examples <= EXAMPLES)
    largest = largest_singular_value(network, first, seed=seed) * first.examples**-0.5
    if not largest > 0:
        largest = largest_singular_value(network, held, seed=seed) * held.examples**-0.5

    def on(part: HeldBatches) -> Moved:
        length = largest * part.examples**0.5
        return lambda rows: _shares(changes(network, part, rows.to(network.dtype)), length)

    return [(on(part), tolerance * (held.examples / part.examples) ** 0.5) for part in parts]


def _shares(lengths: torch.Tensor, largest: float) -> torch.Tensor:
    return lengths / largest if largest > 0 else torch.zeros_like(lengths)


def _tried(
    network: ParameterMap, claims: Sequence[Claim], moved: Moved, bound: float
) -> tuple[dict[Claim, float], list[float]]:
    """Which claims fail by themselves, and by how much; and how far the outputs change along the sums that hold."""
    failed: dict[Claim, float] = {}
    kept: list[float] = []
    groups = [list(claims)] if claims else []
    while groups:
        halves: list[list[Claim]] = []
        some = max(1, NUMBERS // network.size)
        for start in range(0, len(groups), some):
            tried = groups[start : start + some]
            rows = torch.stack([_sum(network, group) for group in tried])
            for group, change, length in zip(tried, moved(rows).tolist(), rows.norm(dim=1).tolist(), strict=True):
                if change <= bound:
                    kept.append(change / length)
                elif len(group) == 1:
                    failed[group[0]] = change
                else:
                    halves += [group[: len(group) // 2], group[len(group) // 2 :]]
        groups = halves
    return {claim: failed[claim] for claim in claims if claim in failed}, kept


def _sum(network: ParameterMap, claims: Sequence[Claim]) -> torch.Tensor:
    row = torch.zeros(network.size, dtype=torch.float64, device=network.device)
    for claim in claims:
        row[claim.columns.to(row.device)] += claim.values.to(row)
    return row
