"""Weight matching from several starts, of the networks themselves and of their shuffled null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch

from weightatlas.connectivity.aligning.grams import Grams
from weightatlas.connectivity.aligning.weight_matching import Ascent, ascend, inward
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weightatlas.connectivity.aligning.states import Likeness, State, StatePair

Start = Literal["inward", "identity"]

DISTURBED: Final = 0.15
"""Share of the groups that is drawn anew where an ascent goes on from the best end so far."""


def matched_weights(
    pair: StatePair,
    sizes: Mapping[str, int],
    *,
    restarts: int,
    sweeps: int,
    seed: int,
    start: Start = "inward",
    device: torch.device | None = None,
    progress: Progress = silent,
) -> list[tuple[Ascent, Likeness]]:
    """Match by weights from several starts, and say how alike the networks came to be from each.

    The first start is the sweep inwards from entries that stay; the second is what the networks are now, so that none
    is worse than not matching, or these two the other way round. The third and every second one from there on goes on
    from the best end so far with a few groups drawn anew, of which only these and their neighbours are solved again
    (iterated local search); the others sweep inwards in disturbed orders.

    Args:
        pair: the weights of both.
        sizes: of the groups.
        restarts: how many starts.
        sweeps: at most so many sweeps for each.
        seed: of all orders.
        start: which comes first.
        device: what computes products.
        progress: called after each sweep.
    """
    grams = Grams(pair, sizes, device=device)
    information: dict[str, list[float]] = {}
    unmatched = 1 if start == "inward" else 0
    found: list[tuple[Ascent, Likeness]] = []
    for number in range(restarts):
        generator = np.random.default_rng([seed, number])
        stale = set(grams.sizes)
        begun = {name: np.arange(size) for name, size in grams.sizes.items()}
        if number > 1 and number % 2 == 0:
            best = max(found, key=lambda one: one[1].objective)[0].permutations
            begun, stale = _disturbed(grams, best, generator)
        elif number != unmatched:
            information = information or {group: grams.information(group) for group in grams.sizes}
            begun, stale = inward(grams, information, generator if number > 1 else None, progress=progress)
        ended = ascend(grams, begun, sweeps=sweeps, generator=generator, stale=stale, progress=progress)
        found.append((ended, pair.likeness(ended.permutations)))
    return found


def _disturbed(
    grams: Grams, permutations: Mapping[str, NDArray[np.int64]], generator: np.random.Generator
) -> tuple[dict[str, NDArray[np.int64]], set[str]]:
    """Permutations with those of a few groups drawn anew, and the groups that may gain from there."""
    names = list(grams.sizes)
    count = max(1, round(DISTURBED * len(names))) if names else 0
    chosen = [names[place] for place in generator.choice(len(names), count, replace=False)] if names else []
    drawn = {name: generator.permutation(grams.sizes[name]) for name in chosen}
    stale = set(chosen).union(*(grams.neighbours(name) for name in chosen))
    return {**permutations, **drawn}, stale


def null_similarities(
    pair: StatePair,
    sizes: Mapping[str, int],
    *,
    nulls: int,
    sweeps: int,
    seed: int,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """The similarities that matching alone gives: with networks that have nothing in common but how large weights are.

    The second network's entries are shuffled within each tensor, and the result is matched, from one start.

    Args:
        pair: the weights of both.
        sizes: of the groups.
        nulls: how many shuffled networks.
        sweeps: at most so many sweeps for each.
        seed: of the shuffling.
        device: what computes products.
        progress: called after each.

    Returns:
        float64 (nulls,).
    """
    found = np.zeros(nulls)
    for number in range(nulls):
        generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, 1, number]).integers(2**62)))
        shuffled = pair.with_b(_shuffled(pair.b, generator))
        ((_, likeness),) = matched_weights(shuffled, sizes, restarts=1, sweeps=sweeps, seed=seed, device=device)
        found[number] = likeness.cosine
        progress(number + 1, nulls, "weight matching of shuffled weights")
    return found


def _shuffled(state: State, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Every tensor with its entries in random order."""
    return {
        name: tensor.flatten()[torch.randperm(tensor.numel(), generator=generator).to(tensor.device)].view(tensor.shape)
        for name, tensor in state.items()
    }
