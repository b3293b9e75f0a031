"""Barriers of single layers: one layer on its way from one network's weights to the other's, all else at rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.connectivity.layer_groups import in_order_of_calls, layer_groups
from weightatlas.connectivity.scoring.hybrids import Hybrids
from weightatlas.connectivity.scoring.layer_rises import LayerRises, Rise, interval_of_mean_height
from weightatlas.connectivity.scoring.scored_lines import RECALIBRATION_BATCHES, Conditions, Recalibrate, Scorer
from weightatlas.evaluation.held_batches import HELD_BYTES
from weightatlas.evaluation.states import State, fit_state
from weightatlas.progress import Progress, silent
from weightatlas.wording import listed

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.example_scores import ExampleLoss

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LayerBarrier:
    """The barrier of one layer; NaN where a network on the way is not finite.

    Attributes:
        layer: module path.
        parameters: names of the tensors that move.
        barrier: mean of `in_a` and `in_b`, in nats for cross-entropy.
        in_a: in the first network, the layer on its way to the second one's: the highest rise of the loss above the
            chord of that very line.
        in_b: the same the other way round.
        low: lower end of the interval of `barrier` over the data.
        high: upper end.
        against_networks: the rise above the chord between the two whole networks, mean of both ways.
        error_barrier: as `barrier`, of the error, 0 to 1.
        from_input: as `barrier`, of all layers up to this one together; NaN where not asked for.
        from_output: of this one and all behind it.
        random: float64 (directions,), as `barrier`, along random directions of the same length: the null.
        p_value: chance that a random direction rises as high, (1 + hits) / (1 + directions); NaN without any.
        alphas: float64 (points,) of the way.
        losses_in_a: float64 (points,), mean losses on it.
        losses_in_b: float64 (points,), the other way round.
    """

    layer: str
    parameters: tuple[str, ...]
    barrier: float
    in_a: float
    in_b: float
    low: float
    high: float
    against_networks: float
    error_barrier: float
    from_input: float
    from_output: float
    random: Array
    p_value: float
    alphas: Array
    losses_in_a: Array
    losses_in_b: Array

    @property
    def midpoint(self) -> float:
        """The rise half-way, mean of both ways; below 0 where the loss sags. `predicted_barriers` predicts this."""
        middle = int(np.abs(self.alphas - 0.5).argmin())
        share = float(self.alphas[middle])
        rises = [
            float(losses[middle] - (1 - share) * losses[0] - share * losses[-1])
            for losses in (self.losses_in_a, self.losses_in_b)
        ]
        return sum(rises) / 2


def layer_barriers(
    model: nn.Module,
    a: State,
    b: State,
    data: Iterable[Batch],
    loss: ExampleLoss | None = None,
    *,
    layers: Sequence[str] | None = None,
    alphas: Sequence[float] = (0, 0.5, 1),
    recalibrate: Recalibrate = "auto",
    recalibration_data: Iterable[Batch] | None = None,
    recalibration_batches: int = RECALIBRATION_BATCHES,
    recalibration_passes: int = 1,
    cumulative: bool = True,
    directions: int = 3,
    examples: int | None = None,
    confidence: float = 0.95,
    held_bytes: int = HELD_BYTES,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[LayerBarrier, ...]:
    r"""Measure the barrier of each layer on its own, of layers from the input and from the output, and by chance.

    With \(a_{S \to \alpha}\) the first network whose layer S is \((1 - \alpha) a_S + \alpha b_S\), the barrier in the
    first network is \(\max_\alpha L(a_{S \to \alpha}) - (1 - \alpha) L(a) - \alpha L(a_{S \to 1})\): against the chord
    of that very line, whose end is the first network with S from the second. `against_networks` puts
    \((1 - \alpha) L(a) + \alpha L(b)\) there instead. Everything is done both ways, and the mean is given.

    **Null.** The layer's parameters move in a random direction instead, isotropic in each tensor and as long there as
    the way to the other network; its batch-norm statistics move as they do. A layer whose loss rises no more than in
    random directions has no barrier of its own: weights of that length anywhere would do it.

    Statistics are estimated anew in every network that is scored, as `barrier` does.

    **Cost.** With three alphas: 2 networks for all, 4 for each layer, 6 more for those from the input and from the
    output, and 4 for each random direction; none is scored twice.

    Args:
        model: the network; its own weights do not count.
        a: the first state, by the model's names.
        b: the second.
        data: pairs of inputs and targets; held-out data, best.
        loss: as in `barrier`.
        layers: module paths; a path stands for all modules in it ("layer1"). None is every module of `layer_groups`.
        alphas: of the way, from 0 to 1.
        recalibrate: as in `barrier`.
        recalibration_data: as in `barrier`.
        recalibration_batches: as in `barrier`.
        recalibration_passes: as in `barrier`.
        cumulative: measure layers from the input and from the output too.
        directions: random ones for each layer.
        examples: how many of the data at most, the first ones; None is all.
        confidence: of the intervals.
        held_bytes: of data that are held.
        seed: of directions, intervals and random layers.
        progress: called as layers are done.

    Returns:
        One for each layer, in the order in which the network runs them.

    Raises:
        ValueError: a layer is not there, `alphas` do not run from 0 to 1 by way of something between, `directions` is
            negative, or there are no examples.
        SourceError: a state does not fit the model, or the data do not.
        ClassesError: the logits do not fit the targets.

    **Source:** Adilova and others, *Layer-wise Linear Mode Connectivity* (2024), whose barriers are at alpha 1/2
    against the chord of the whole networks, with cumulative groups and a random direction as control. Both references,
    both ways and matched lengths by tensor are ours.

    Example:
        >>> import torch
        >>> line = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
        >>> a, b = ({name: torch.tensor([[v]]) for name in ("0.weight", "1.weight")} for v in (1.0, -1.0))
        >>> square = lambda output, _: (output[:, 0] - 1) ** 2
        >>> batches = [(torch.ones(4, 1), torch.zeros(4))]
        >>> found = layer_barriers(line, a, b, batches, square, directions=0)
        >>> [(one.layer, one.barrier, one.in_a) for one in found]  # (1 - 2 alpha - 1)^2 lies under its chord
        [('0', 0.0, 0.0), ('1', 0.0, 0.0)]
        >>> [one.from_input for one in found]  # both at once: ((1 - 2 alpha)^2 - 1)^2, back at 0 at the end
        [0.0, 1.0]
    """
    way = _way(alphas, directions)
    conditions = Conditions(
        loss=loss,
        examples=examples,
        recalibrate=recalibrate,
        recalibration_data=recalibration_data,
        recalibration_batches=recalibration_batches,
        recalibration_passes=recalibration_passes,
        held_bytes=held_bytes,
        seed=seed,
    )
    ends = fit_state(model, a, name="the first state"), fit_state(model, b, name="the second state")
    groups = layer_groups(model)
    chosen = _chosen(groups, layers)
    scorer = Scorer(model, data, conditions)
    order = in_order_of_calls(scorer.outputs, ends[0], scorer.batches, groups)
    tensors = [groups[path] for path in order]
    rises = LayerRises(Hybrids(scorer, *ends, tensors), ends, tensors, way, seed=seed)
    members = {layer: sorted(map(order.index, paths)) for layer, paths in chosen.items()}
    found = []
    for done, layer in enumerate(sorted(members, key=members.__getitem__), start=1):
        places = members[layer]
        names = tuple(name for place in places for name in tensors[place])
        moving = [name for name in names if name in dict(model.named_parameters())]
        drawn = [rises.random_height(places, moving, number) for number in range(directions)]
        cumulated = _cumulated(rises, places, len(order)) if cumulative else (math.nan, math.nan)
        one = _measured(layer, names, rises.ways(places), rises.ways(range(len(order))), drawn)
        interval = interval_of_mean_height(*rises.ways(places), confidence=confidence, seed=seed)
        found.append(replace(one, low=interval[0], high=interval[1], from_input=cumulated[0], from_output=cumulated[1]))
        progress(done, len(members), layer)
    return tuple(found)


def _measured(
    layer: str, names: tuple[str, ...], ways: tuple[Rise, Rise], whole: tuple[Rise, Rise], random: Sequence[float]
) -> LayerBarrier:
    """What is known of a layer from its ways in both networks, and those of both whole networks."""
    in_a, in_b = ways
    barrier = (in_a.height + in_b.height) / 2
    first, second = (float(one.losses[0].mean()) for one in whole)
    heights = np.array(random, dtype=np.float64)
    known = len(heights) > 0 and bool(np.isfinite(heights).all()) and math.isfinite(barrier)
    return LayerBarrier(
        layer=layer,
        parameters=names,
        barrier=barrier,
        in_a=in_a.height,
        in_b=in_b.height,
        low=math.nan,
        high=math.nan,
        against_networks=(in_a.height_above(first, second) + in_b.height_above(second, first)) / 2,
        error_barrier=(in_a.error_height + in_b.error_height) / 2,
        from_input=math.nan,
        from_output=math.nan,
        random=heights,
        p_value=(1 + int((heights >= barrier).sum())) / (1 + len(heights)) if known else math.nan,
        alphas=in_a.alphas,
        losses_in_a=in_a.losses.mean(axis=1),
        losses_in_b=in_b.losses.mean(axis=1),
    )


def _cumulated(rises: LayerRises, places: Sequence[int], count: int) -> tuple[float, float]:
    """Mean heights of all groups up to the last of a layer's, and of all from its first one on."""
    both = (range(places[-1] + 1), range(places[0], count))
    upto, onwards = (sum(way.height for way in rises.ways(members)) / 2 for members in both)
    return upto, onwards


def _chosen(groups: Mapping[str, Sequence[str]], layers: Sequence[str] | None) -> dict[str, list[str]]:
    """The groups that each layer stands for.

    Raises:
        ValueError: one stands for none.
    """
    if layers is None:
        return {path: [path] for path in groups}
    chosen = {layer: [path for path in groups if f"{path}.".startswith(f"{layer}.")] for layer in layers}
    empty = next((layer for layer, paths in chosen.items() if not paths), None)
    if empty is not None:
        message = f"the network has no layer {empty!r} with parameters; it has {listed(list(groups)[:8])}"
        raise ValueError(message)
    return chosen


def _way(alphas: Sequence[float], directions: int) -> Array:
    """The points of every way, ascending.

    Raises:
        ValueError: they do not run from 0 to 1 by way of something between, or `directions` is negative.
    """
    way = np.unique(np.asarray(alphas, dtype=np.float64))
    if len(way) < 3 or way[0] != 0 or way[-1] != 1:
        message = f"alphas must run from 0 to 1 by way of one or more between, not {list(alphas)}"
        raise ValueError(message)
    if directions < 0:
        message = f"directions must be 0 or more, not {directions}"
        raise ValueError(message)
    return way
