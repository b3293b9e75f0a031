"""Weight matching: permutations of all groups that bring two networks' weights close, one group at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.connectivity.aligning.assigning import assigned, value
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weightatlas.connectivity.aligning.blocks import Permutations
    from weightatlas.connectivity.aligning.grams import Grams

SMALLEST_GAIN: Final = 1e-7
"""What a step must gain, as a share of the group's part of the objective: below that float32 rounds."""

LEAST_SHARE: Final = 0.01
"""Where less than this share of what tells a group's entries apart comes through known neighbours, sorted weights are
looked at too."""


@dataclass(frozen=True, slots=True, eq=False)
class Ascent:
    """What coordinate ascent came to.

    Attributes:
        permutations: of all groups.
        sweeps: how many times it went through the groups; 0 where none could gain.
        settled: whether no group gains any more; else the sweeps were used up.
    """

    permutations: dict[str, NDArray[np.int64]]
    sweeps: int
    settled: bool


def inward(
    grams: Grams,
    information: Mapping[str, Sequence[float]],
    generator: np.random.Generator | None = None,
    *,
    progress: Progress = silent,
) -> tuple[dict[str, NDArray[np.int64]], set[str]]:
    """The first sweep: groups in the order in which their neighbours become known, each by what is known alone.

    Entries that stay are known from the start. The next group is always the one for which known neighbours carry the
    largest share of what tells its entries apart in the first network. Where that is next to nothing, what the
    entries have in common once sorted over the unknown axes is added: two units that are the same up to the order of
    their neighbours are then found all the same.

    Args:
        grams: of both networks.
        information: of each group's places, as `Grams.information` gives it.
        generator: disturbs the order; None is the order as said.
        progress: called after each group.

    Returns:
        The permutations of all groups, and the groups that were solved without all of their neighbours.
    """
    permutations = {name: np.arange(size) for name, size in grams.sizes.items()}
    known: set[str] = set()
    partly: set[str] = set()
    left = list(grams.sizes)
    while left:
        noise = np.ones(len(left)) if generator is None else generator.uniform(0.2, 1, len(left))
        shares = [_share(grams, name, information[name], known) for name in left]
        number = int(np.argmax(np.array(shares) * noise))
        group = left.pop(number)
        gram = grams.gram(group, permutations, known=known, unknown=shares[number] < LEAST_SHARE)
        order = assigned(gram)
        gain = value(gram, order) - value(gram, permutations[group])
        if gain > SMALLEST_GAIN * abs(value(gram, order)):
            permutations[group] = order
        if not all(place.others <= known for place in grams.places[group]):
            partly.add(group)
        known.add(group)
        progress(len(known), len(grams.sizes), "weight matching, the first sweep")
    return permutations, partly


def ascend(
    grams: Grams,
    start: Permutations,
    *,
    sweeps: int,
    generator: np.random.Generator,
    groups: Sequence[str] | None = None,
    stale: Collection[str] | None = None,
    progress: Progress = silent,
) -> Ascent:
    """Solve group after group, the others fixed, until none gains.

    A group is solved again only where a neighbour has moved since: its Gram matrix is otherwise the same, and so is
    its solution. The end is a fixed point of sweeps over all groups.

    Args:
        grams: of both networks.
        start: permutations of all groups.
        sweeps: at most so many times through the groups.
        generator: draws the order of each sweep.
        groups: those to solve; None is all.
        stale: those of them that may gain; None is all.
        progress: called after each sweep.
    """
    permutations = dict(start)
    solved = list(grams.sizes if groups is None else groups)
    left = set(solved if stale is None else stale)
    sweep = 0
    while left and sweep < sweeps:
        sweep += 1
        for number in generator.permutation(len(solved)):
            group = solved[number]
            if group in left:
                left.discard(group)
                if _improve(grams, group, permutations):
                    left |= grams.neighbours(group) & set(solved)
        progress(sweep, sweeps, f"weight matching, {len(left)} groups left")
    return Ascent(permutations, sweep, settled=not left)


def _improve(grams: Grams, group: str, permutations: dict[str, NDArray[np.int64]]) -> bool:
    """Give a group its best permutation; where the objective is not linear in it, one that gains."""
    gram = grams.gram(group, permutations)
    before = permutations[group]
    order = assigned(gram)
    top = value(gram, order)
    gain = top - value(gram, before)
    if any(place.twice for place in grams.places[group]):
        linear = grams.gram(group, permutations, known=set(grams.sizes) - {group})
        gain = value(linear, order) - value(linear, before)
        gain += grams.quadratic(group, {**permutations, group: order}) - grams.quadratic(group, permutations)
    if gain <= SMALLEST_GAIN * abs(top):
        return False
    permutations[group] = order
    return True


def _share(grams: Grams, group: str, information: Sequence[float], known: set[str]) -> float:
    """How much of what tells a group's entries apart comes through known neighbours."""
    through = sum(
        amount for place, amount in zip(grams.places[group], information, strict=True) if place.others <= known
    )
    return through / (sum(information) or 1.0)
