"""Bring two networks of one architecture as close as their permutation symmetries allow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from weightatlas.anatomy.symmetry import Symmetries
from weightatlas.anatomy.symmetry import symmetries as symmetries_of
from weightatlas.connectivity.aligning.activation_matching import correlated_layers, match_activations
from weightatlas.connectivity.aligning.grams import Grams
from weightatlas.connectivity.aligning.restarts import Start, matched_weights, null_similarities
from weightatlas.connectivity.aligning.states import FIRST, SECOND, State, state_pair
from weightatlas.connectivity.aligning.straight_through import Midpoint, descend
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.mean_loss import classification_loss, first_examples
from weightatlas.evaluation.states import StateOutputs, fit_state
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.connectivity.aligning.blocks import Permutations
    from weightatlas.connectivity.aligning.states import StatePair
    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.mean_loss import Loss

Method = Literal["weights", "activations", "straight-through"]


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """How the units of one network are matched to those of another.

    Attributes:
        permutations: of all groups: those that bring the second network to the first.
        method: how they were found.
        symmetries: whose groups these are.
        similarity: cosine between the weights of both, the second one's permuted; -1 to 1.
        similarity_before: the same without permuting.
        distance: between the weights of both, the second one's permuted.
        distance_before: the same without permuting.
        objective: float64 (restarts,): the sum of products of weights that each restart came to; for methods other than
            by weights, the one that their permutations have.
        sweeps: int64, as many: how many sweeps each took after the one inwards.
        moved: share of the groups' entries that changed place, 0 to 1.
        null_similarity: float64 (nulls,): the similarity that matching alone gives, with networks whose weights are the
            second one's, shuffled within each tensor.
        correlation: of activation matching the mean correlation of matched units; NaN otherwise.
        losses: float64 (steps,): of straight-through matching the loss at the midpoint at each step, on its batch.
        loss: of straight-through matching the loss at the midpoint over all data; NaN otherwise.
        loss_before: the same with the units as weight matching has them.
    """

    permutations: dict[str, NDArray[np.int64]]
    method: Method
    symmetries: Symmetries
    similarity: float
    similarity_before: float
    distance: float
    distance_before: float
    objective: NDArray[np.float64]
    sweeps: NDArray[np.int64]
    moved: float
    null_similarity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    correlation: float = math.nan
    losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    loss: float = math.nan
    loss_before: float = math.nan

    def align(self, b: State) -> dict[str, torch.Tensor]:
        """The second network's state, its units in the places of the first one's that they match."""
        return self.symmetries.permute(b, self.permutations)


def match(
    model: nn.Module | None,
    a: State,
    b: State,
    symmetries: Symmetries | None = None,
    *,
    method: Method = "weights",
    data: Iterable[Batch] | None = None,
    example_inputs: Example | None = None,
    restarts: int = 3,
    start: Start = "inward",
    sweeps: int = 100,
    nulls: int = 0,
    statistics: bool = False,
    steps: int = 300,
    learning_rate: float = 1e-2,
    loss: Loss = classification_loss,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Matching:
    r"""Match the units of two networks of one architecture.

    Over the permutations \(\pi\) of the groups of a network's symmetries, which leave what it computes as it is,

    * by weights: \(\max_\pi \sum_t \langle a_t, (\pi b)_t \rangle\), the same as the least \(|a - \pi b|\);
    * by activations: the largest sum, over layers, of the correlations of matched units' outputs on data;
    * straight through: the least loss of \((a + \pi b) / 2\) on data, by gradients through the matching of weights.

    By weights one group is solved at a time, the others fixed: its Gram matrix is the sum over all axes on which it
    stands, and the best assignment of that is exact. What it ends in is a point where no group alone gains, not known
    to be the best there is: hence restarts. The first begins with a sweep inwards from the entries that stay (inputs,
    outputs, symbols), each group by the neighbours that are known, and, where none are, by their sorted weights; the
    second begins with the networks as they are; from the third on every other one goes on from the best end so far, a
    few of its groups drawn anew. A group is solved again only where a neighbour has moved, which comes
    to the same end as solving all. A group on two axes of one tensor (a square layer that is added to its input) has
    a quadratic objective: it is linearised about the present permutation, and a step taken where the objective itself
    grows.

    Permutations of different groups are independent. A group may be heads, the width of heads, channels of which each
    has several positions, a part of a concatenation. Two units that are alike may change places.

    Args:
        model: the network; its own weights do not count. None serves for weights, where symmetries are given.
        a: state of the first network, by the model's names. Each tensor is asked for once; where that is mapped from
            a file, a piece of it at a time is read.
        b: state of the second one.
        symmetries: of the network, as `weightatlas.anatomy.symmetry.symmetries` finds them; None finds them.
        method: "weights", "activations" or "straight-through".
        data: batches of inputs and targets, for the methods that run the networks.
        example_inputs: what to find symmetries with; None is the first inputs of the data.
        restarts: of weight matching.
        start: the first of them: "inward" or, for networks that are near each other already, "identity"; the second is
            the other one.
        sweeps: at most so many times through the groups, from each start.
        nulls: how many shuffled networks to match for `null_similarity`.
        statistics: whether running statistics of norms count as weights do; they move along in any case.
        steps: of straight-through matching.
        learning_rate: of straight-through matching, by Adam.
        loss: of straight-through matching, a mean.
        seed: of every random choice.
        device: what computes products; None is where the first network's tensors are. Assignments
            are solved on the CPU.
        progress: called after every sweep or step.

    Returns:
        The permutations that bring `b` to `a`, and how alike the two are before and after. Matching finds something
        in common between any two networks: `null_similarity` says how much between unrelated ones.

    Raises:
        SourceError: the networks differ in a tensor's shape or lack a tensor of the model, that cannot be exported, or
            the data do not fit it.
        NotFiniteError: a weight is NaN or infinite, or the loss at the midpoint.
        ValueError: what the method needs is not given.

    **Source:** weight matching, activation matching and straight-through matching of Ainsworth, Hayase and Srinivasa,
    Git Re-Basin (2023), sections 3.1 to 3.3. We differ: the groups come from the graph; first the sweep inwards, then
    random orders; groups that cannot have changed are left out. Activation matching takes correlations of the outputs
    of linear layers, convolutions and embeddings, before the nonlinearity, as Jordan et al., REPAIR (2023) correlate
    features, not products; groups that no such layer has are then matched by weights. Straight-through matching keeps
    the best of what it met, which may be where it began.

    Example:
        >>> from torch import nn
        >>> from weightatlas.anatomy.symmetry import symmetries
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> found = symmetries(network, torch.zeros(2, 4))
        >>> first = network.state_dict()
        >>> second = found.permute(first, found.random(seed=1))
        >>> matching = match(network, first, second, found)
        >>> matching.distance_before > 1, matching.distance, round(matching.similarity, 6)
        (True, 0.0, 1.0)
    """
    if method not in get_args(Method):
        message = f"method is one of {', '.join(get_args(Method))}, not {method!r}"
        raise ValueError(message)
    if start not in get_args(Start):
        message = f"start is one of {', '.join(get_args(Start))}, not {start!r}"
        raise ValueError(message)
    if min(restarts, sweeps, steps) < 1 or nulls < 0:
        message = "restarts, sweeps and steps must be at least 1, and nulls at least 0"
        raise ValueError(message)
    running = None if method == "weights" else _running(model, data, method)
    known = symmetries if symmetries is not None else _symmetries(model, data, example_inputs)
    pair = state_pair(model, known, a, b, statistics=statistics)
    sizes = {group.name: group.size for group in known.groups}
    where = None if device is None else torch.device(device)
    starts = 1 if method == "activations" else restarts
    found = matched_weights(
        pair, sizes, restarts=starts, start=start, sweeps=sweeps, seed=seed, device=where, progress=progress
    )
    best, after = max(found, key=lambda one: one[1].objective)
    before = pair.likeness()
    made = Matching(
        known.identity() | best.permutations,
        method,
        known,
        similarity=after.cosine,
        similarity_before=before.cosine,
        distance=after.distance,
        distance_before=before.distance,
        objective=np.array([likeness.objective for _, likeness in found]),
        sweeps=np.array([one.sweeps for one, _ in found]),
        moved=_moved(best.permutations),
        null_similarity=null_similarities(
            pair, sizes, nulls=nulls, sweeps=sweeps, seed=seed, device=where, progress=progress
        ),
    )
    if running is None:
        return made
    generator = np.random.default_rng([seed, 2])
    if method == "activations":
        layers = correlated_layers(running[0], known, a, b, running[1], seed=seed)
        active = match_activations(layers, Grams(pair, sizes, device=where), made.permutations, sweeps, generator)
        made = replace(made, sweeps=np.array([active.sweeps]), correlation=active.correlation)
        return _moved_to(made, pair, active.permutations)
    _fits(running[0], a, b, running[1])
    midpoint = Midpoint(running[0], pair, known, running[1], loss, seed)
    ended = descend(
        midpoint,
        sizes,
        made.permutations,
        steps=steps,
        learning_rate=learning_rate,
        generator=generator,
        progress=progress,
    )
    made = replace(made, losses=ended.losses, loss=ended.loss, loss_before=ended.loss_before)
    return _moved_to(made, pair, ended.permutations)


def _moved_to(made: Matching, pair: StatePair, permutations: dict[str, NDArray[np.int64]]) -> Matching:
    """A matching with other permutations."""
    after = pair.likeness(permutations)
    return replace(
        made,
        permutations=permutations,
        similarity=after.cosine,
        distance=after.distance,
        objective=np.array([after.objective]),
        moved=_moved(permutations),
    )


def _moved(permutations: Permutations) -> float:
    """The share of all entries that have changed place."""
    changed = sum(int((order != np.arange(len(order))).sum()) for order in permutations.values())
    return changed / max(sum(len(order) for order in permutations.values()), 1)


def _running(model: nn.Module | None, data: Iterable[Batch] | None, method: str) -> tuple[nn.Module, HeldBatches]:
    """A model and batches to run it on, on its device, as often as one likes."""
    if model is None or data is None:
        message = f"matching by {method} runs the networks: give model and data"
        raise ValueError(message)
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    return model, HeldBatches(data, device=device)


def _fits(model: nn.Module, a: State, b: State, batches: HeldBatches) -> None:
    """Run a batch through the first network, for a clear message where it does not fit."""
    run = StateOutputs(model)
    states = [fit_state(model, state, name=name) for state, name in ((a, FIRST), (b, SECOND))]
    with run.ready():
        run(states[0], next(iter(batches))[0])


def _symmetries(model: nn.Module | None, data: Iterable[Batch] | None, example_inputs: Example | None) -> Symmetries:
    """The symmetries of a model, found with an example or with the first inputs of the data."""
    if model is None or (data is None and example_inputs is None):
        message = "give the symmetries, or a model and example_inputs or data to find them with"
        raise ValueError(message)
    if example_inputs is not None:
        return symmetries_of(model, example_inputs)
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    return symmetries_of(model, first_examples(data or (), 2, device)[0][0])
