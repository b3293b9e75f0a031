"""Elimination singularities: channels that a nonlinearity shuts off, and how far a norm's outputs are from (0, 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from weightatlas.conditioning.channel_moments import ChannelMoments, Moments
from weightatlas.conditioning.distances import RESAMPLES, UNKNOWN, Distance, distances
from weightatlas.conditioning.positive_shares import gaussian_positive, share_bounds, units_to_show
from weightatlas.conditioning.undisturbed import undisturbed
from weightatlas.errors import SourceError
from weightatlas.evaluation.nonlinearities import Point, nonlinearities
from weightatlas.evaluation.origins import Affine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    Array = npt.NDArray[np.float64]

DEAD: Final = 1e-3
"""A channel is dead where fewer of its values are positive: it hands on next to nothing, and hardly learns."""

NEAR_DEAD: Final = 0.05
"""A channel is nearly dead below this: a Gaussian one would have its mean 1.64 deviations below 0."""

FEW: Final = 16
"""Independent units below which resampling them says little of how far moments may be off."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """What the channels before one nonlinearity are like.

    Every example counts alike; all places of a map or a sequence count alike within it.

    Attributes:
        layer: path of what made the channels; see `Point`.
        function: the nonlinearity.
        norm: kind of the norm right before it, or None.
        mean: float64 (channels,).
        std: float64 (channels,), population deviation over examples and places.
        positive: float64 (channels,), P(x > 0).
        positive_low: float64 (channels,), 95 % lower bound of it that so many examples allow.
        positive_high: float64 (channels,), 95 % upper bound.
        normalized_mean: float64 (channels,), of what the norm gives before its last affine map: of batch, group, layer
            and instance norm before weight and bias; of batch-channel norm before the affine of its groups, with the
            affine of its batch part inside. NaN where there is no norm, or no affine of one number a channel.
        normalized_std: float64 (channels,), likewise.
        means: how far the normalised means are from 0, beside chance.
        stds: how far the normalised deviations are from 1, beside chance.
        dead: share of channels with P(x > 0) below the threshold `dead`, 0 to 1.
        dead_interval: share of those that are so by their upper bound, and share of those that may be by their lower
            one. With few examples the first is 0: no channel has been seen often enough to be called dead.
        near_dead: share of channels below the threshold `near_dead`, dead ones included.
        near_dead_interval: likewise.
        examples: how many were seen.
        units: how many independent ones that are: in training mode the examples of a batch are one.
        skipped: why there are no figures, or None.
    """

    layer: str
    function: str
    norm: str | None
    mean: Array
    std: Array
    positive: Array
    positive_low: Array
    positive_high: Array
    normalized_mean: Array
    normalized_std: Array
    means: Distance
    stds: Distance
    dead: float
    dead_interval: Interval
    near_dead: float
    near_dead_interval: Interval
    examples: int
    units: int
    skipped: str | None = None

    @property
    def channels(self) -> int:
        """How many."""
        return len(self.mean)

    @property
    def mean_distance(self) -> float:
        """Distance of the normalised means from 0, rms over channels."""
        return self.means.value

    @property
    def std_distance(self) -> float:
        """Distance of the normalised deviations from 1, rms over channels."""
        return self.stds.value

    @property
    def least_positive(self) -> float:
        """P(x > 0) of the channel that is positive least."""
        return float(self.positive.min()) if self.channels else math.nan

    @property
    def least_positive_interval(self) -> Interval:
        """The least lower and the least upper bound of any channel."""
        if not self.channels:
            return math.nan, math.nan
        return float(self.positive_low.min()), float(self.positive_high.min())

    @property
    def gaussian_positive(self) -> Array:
        """P(x > 0) of Gaussian channels of the same means and deviations, Phi(mean / std): the null model."""
        return gaussian_positive(self.mean, self.std)


@dataclass(frozen=True, slots=True, eq=False)
class Singularities:
    """How near the channels of a network are to being eliminated.

    Attributes:
        points: one for every nonlinearity, in the order in which the network comes to them.
        examples: how many the network was run on.
        training: in training mode, by statistics of the batches.
        batch_size: the largest batch.
        dead_below: the threshold.
        near_dead_below: the threshold.
        notes: what was assumed, one sentence each.
    """

    points: tuple[ChannelStatistics, ...]
    examples: int
    training: bool
    batch_size: int
    dead_below: float
    near_dead_below: float
    notes: tuple[str, ...] = ()


def singularities(
    model: nn.Module,
    data: Iterable[Any],
    *,
    examples: int = 512,
    training: bool = False,
    dead: float = DEAD,
    near_dead: float = NEAR_DEAD,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Singularities:
    r"""Measure the channels before every nonlinearity of a network on data.

    For each channel c: its mean m_c, deviation s_c and P(x_c > 0). With the moments of what a norm gives before its
    affine map, the distance of a layer to batch norm's (0, 1) is sqrt(mean_c m_c^2) in means and
    sqrt(mean_c (s_c - 1)^2) in deviations: 0 and 0 for a batch norm by the statistics of its own batch, and for one by
    running estimates that fit the data.

    Null models: of P(x > 0) a Gaussian channel of the same moments, Phi(m / s); of the distances channels that truly
    have mean 0 and deviation 1, seen through as many examples; see `distances`.

    Args:
        model: any network that `nonlinearities` can follow. Its modes, buffers and gradients stay as they are.
        data: batches of inputs, or of pairs (inputs, targets) of which the inputs are taken; what `open_data` gives.
        examples: how many, the first ones.
        training: run in training mode, with the statistics that the batches of the data have; running estimates are
            not moved. In evaluation mode a norm by estimates uses those.
        dead: threshold of P(x > 0) for dead channels.
        near_dead: threshold for nearly dead ones.
        seed: fixes resampling, and dropout in training mode.
        resamples: for intervals and nulls of distances.

    Raises:
        SourceError: the network cannot be followed or run on the data, or has no nonlinearity.
        ValueError: there is no batch, or an option is out of its range.

    **Source:** "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization" (Qiao and others,
    2019) for elimination singularities and the plane of (mean, deviation). No public source says how its distance is
    computed: the definitions of distance, dead and nearly dead are ours.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU())
        >>> network[0].weight.data, network[0].bias.data = torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, -1.0])
        >>> (point,) = singularities(network, [torch.tensor([[-2.0], [2.0]])]).points
        >>> point.layer, point.mean, point.std, point.positive, point.dead
        ('0', array([ 0., -1.]), array([2., 0.]), array([0.5, 0. ]), 0.5)
    """
    check_thresholds(dead, near_dead)
    if examples < 1 or resamples < 0:
        message = f"examples must be 1 or more and resamples 0 or more, not {examples} and {resamples}"
        raise ValueError(message)
    listener = Listener(by_batch=training)
    seen, largest = 0, 0
    with undisturbed(model, training=training, seed=seed), torch.no_grad(), nonlinearities(model, listener):
        for inputs in _inputs(data, examples):
            largest = max(largest, len(inputs))
            listener.examples = len(inputs)
            seen += len(inputs)
            _run(model, inputs)
    if not seen:
        message = "there is no batch to measure on; give one or more"
        raise ValueError(message)
    points = tuple(
        channel_statistics(point, listener, dead=dead, near_dead=near_dead, seed=seed, resamples=resamples)
        for point in listener.points
    )
    if not points:
        problem = "it has no elementwise nonlinearity on (examples, channels, ...)"
        raise SourceError(type(model).__name__, problem, "give a network that has one")
    notes = _notes(model, points, training=training, dead=dead)
    return Singularities(points, seen, training, largest, dead, near_dead, notes)


class Listener:
    """Sums what the nonlinearities of a network are given, as `nonlinearities` tells it.

    Attributes:
        examples: in the batch that is under way.
        points: in the order in which they came first.
    """

    def __init__(self, *, by_batch: bool = False) -> None:
        self.examples = 1
        self.points: list[Point] = []
        self._by_batch = by_batch
        self._sums: dict[str, tuple[ChannelMoments, ChannelMoments]] = {}

    def __call__(self, point: Point, inputs: torch.Tensor) -> None:
        """Add the inputs of one nonlinearity."""
        if not inputs.numel():
            return
        if point.layer not in self._sums:
            self.points.append(replace(point, affine=_kept(point.affine)))
            self._sums[point.layer] = (
                ChannelMoments(by_batch=self._by_batch),
                ChannelMoments(by_batch=self._by_batch),
            )
        whole, bare = self._sums[point.layer]
        whole.add(inputs, axis=point.axis, examples=self.examples)
        affine = point.affine
        if affine is not None and affine.bare is not None:
            bare.add(affine.bare, axis=affine.axis, examples=self.examples)

    def moments(self, layer: str) -> tuple[Moments, Moments | None]:
        """Give those of a point, and those before the norm's affine map of channels with weight 0."""
        whole, bare = self._sums[layer]
        return whole.moments(), bare.moments() if bare.is_begun else None


def _kept(affine: Affine | None) -> Affine | None:
    """A copy of a norm's affine map as it is now: an optimizer may move it before the figures are worked out."""
    if affine is None:
        return None
    weight, bias = (None if part is None else part.detach().clone() for part in (affine.weight, affine.bias))
    return Affine(weight, bias)


def channel_statistics(
    point: Point, listener: Listener, *, dead: float, near_dead: float, seed: int, resamples: int
) -> ChannelStatistics:
    """Work out the figures of one point from its sums."""
    moments, bare = listener.moments(point.layer)
    skipped = None
    if moments.unusable:
        total = moments.unusable + moments.examples
        skipped = f"{moments.unusable} of {total} examples gave values that are not finite"
    normalized = None if point.affine is None or skipped else moments.without(point.affine, bare)
    nothing = np.full(moments.means.shape[1], np.nan)
    means, stds = (UNKNOWN, UNKNOWN) if normalized is None else distances(normalized, seed=seed, resamples=resamples)
    positive = nothing if skipped else moments.positive
    low, high = share_bounds(positive, moments.units)
    shares = [_share(positive < limit, skipped) for limit in (dead, near_dead)]
    intervals = [(_share(high < limit, skipped), _share(low < limit, skipped)) for limit in (dead, near_dead)]
    return ChannelStatistics(
        layer=point.layer,
        function=point.function,
        norm=point.norm,
        mean=nothing if skipped else moments.mean,
        std=nothing if skipped else moments.std,
        positive=positive,
        positive_low=low,
        positive_high=high,
        normalized_mean=nothing if normalized is None else normalized.mean,
        normalized_std=nothing if normalized is None else normalized.std,
        means=means,
        stds=stds,
        dead=shares[0],
        dead_interval=intervals[0],
        near_dead=shares[1],
        near_dead_interval=intervals[1],
        examples=moments.examples,
        units=moments.units,
        skipped=skipped,
    )


def _share(chosen: npt.NDArray[np.bool_], skipped: str | None) -> float:
    return math.nan if skipped else float(chosen.mean())


def _inputs(data: Iterable[Any], examples: int) -> Iterator[torch.Tensor]:
    """The inputs of the first examples; data that count their passes count as before afterwards."""
    epoch = getattr(data, "epoch", None)
    left = examples
    try:
        for batch in data:
            inputs = batch[0] if isinstance(batch, tuple | list) else batch
            if not isinstance(inputs, torch.Tensor) or not inputs.ndim:
                problem = f"a batch is a {type(batch).__name__} without a tensor of inputs"
                raise SourceError(getattr(data, "name", "data"), problem, "give pairs (inputs, targets)")
            inputs = inputs[:left]
            if len(inputs):
                yield inputs
            left -= len(inputs)
            if left <= 0:
                return
    finally:
        if epoch is not None:
            data.epoch = epoch  # type: ignore[attr-defined]


def _run(model: nn.Module, inputs: torch.Tensor) -> None:
    like = next(model.parameters(), None)
    if like is not None:
        inputs = inputs.to(like.device, like.dtype if inputs.is_floating_point() else None)
    try:
        model(inputs)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        problem = f"cannot be run on inputs {list(inputs.shape)} ({first[:200]})"
        raise SourceError(type(model).__name__, problem, "give data that it takes, or larger batches") from error


def check_thresholds(dead: float, near_dead: float) -> None:
    """See that thresholds are shares in their order.

    Raises:
        ValueError: they are not.
    """
    if not 0 < dead <= near_dead < 1:
        message = f"0 < dead <= near_dead < 1 must hold, not {dead} and {near_dead}"
        raise ValueError(message)


def _notes(model: nn.Module, points: tuple[ChannelStatistics, ...], *, training: bool, dead: float) -> tuple[str, ...]:
    notes = []
    units, needed = max(point.units for point in points), units_to_show(dead)
    if units < needed:
        what = "batches" if training else "examples"
        notes.append(
            f"no channel can be shown to be positive less than {dead:g} of the time by {units:,} {what}; "
            f"{needed:,} without a positive value could"
        )
    if units < FEW:
        what = "batches" if training else "examples"
        notes.append(f"with {units} {what} the intervals and p-values of distances are rough: take {FEW} or more")
    if isinstance(model, torch.fx.GraphModule) and "eval" in vars(model):
        notes.append("the network is an export: it ran in the mode in which it was exported")
    return tuple(notes)
