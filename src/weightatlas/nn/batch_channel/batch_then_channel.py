"""Batch normalisation and then channel normalisation, one after the other, in torch's operators."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from weightatlas.nn.batch_channel.map_moments import MapMoments, over_maps
from weightatlas.nn.batch_channel.running_estimates import BatchMoments, over_processes, pooled


class Affines(NamedTuple):
    """What the two normalisations scale and shift by, or None for ones and zeros.

    Attributes:
        weight: (channels,), behind the batch normalisation.
        bias: (channels,).
        channel_weight: (groups,), behind the channel normalisation.
        channel_bias: (groups,).
    """

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    channel_weight: torch.Tensor | None
    channel_bias: torch.Tensor | None


class Rule(NamedTuple):
    """How to normalise.

    Attributes:
        groups: of channels.
        eps: what both variances are raised by.
        follows: whether a gradient flows through the mean and the variance of the batch normalisation.
        shared: whether those are of the batch over all processes.
    """

    groups: int
    eps: float
    follows: bool = False
    shared: bool = False


def unfused(values: torch.Tensor, statistics: BatchMoments, affines: Affines, rule: Rule) -> torch.Tensor:
    r"""Normalise one after the other, in plain operators: what the fused pass must equal.

    $$z = \gamma_c \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}} + \beta_c, \qquad
    y = w_k \frac{z - M_{nk}}{\sqrt{U_{nk} + \varepsilon}} + b_k$$

    with M and U the mean and the biased variance of z over the channels and positions of group k in sample n.

    Args:
        values: (samples, channels, ...).
        statistics: the mean and the variance of the first, constants or functions of the values.
        affines: gamma, beta, w and b.
        rule: groups and epsilon.

    Returns:
        The answer, of the shape and dtype of the values.
    """
    scale = (statistics.variance + rule.eps).rsqrt()
    normalised = (values - over_maps(statistics.mean[None], values)) * over_maps(scale[None], values)
    if affines.weight is not None:
        normalised = normalised * over_maps(affines.weight[None], values)
    if affines.bias is not None:
        normalised = normalised + over_maps(affines.bias[None], values)
    return _channel_norm(normalised, affines, rule)


def by_torch(
    values: torch.Tensor, statistics: BatchMoments | None, affines: Affines, rule: Rule
) -> tuple[torch.Tensor, BatchMoments]:
    """Normalise by torch's batch norm and group norm, whose kernels are the fewest launches where those cost most.

    Args:
        values: (samples, channels, ...), at least one.
        statistics: what the batch normalisation goes by; None for the batch's own.
        affines: gamma, beta, w and b.
        rule: groups and epsilon.

    Returns:
        The answer, and the statistics: the batch's where none were given.
    """
    weight, bias = affines[:2]
    if statistics is not None:
        mean, variance = statistics.mean, statistics.variance
        normalised = functional.batch_norm(values, mean, variance, weight, bias, training=False, eps=rule.eps)
        return _channel_norm(normalised, affines, rule), statistics
    count = values.numel() // values.shape[1]
    mean, variance = values.new_zeros(2, values.shape[1])
    normalised = functional.batch_norm(
        values, mean, variance, weight, bias, training=True, momentum=1.0, eps=rule.eps
    )  # with a momentum of one the running estimates are the batch's own, the variance unbiased
    found = BatchMoments(mean.new_full((), count), mean, variance * ((count - 1) / count))
    return _channel_norm(normalised, affines, rule), found


def _channel_norm(values: torch.Tensor, affines: Affines, rule: Rule) -> torch.Tensor:
    size = values.shape[1] // rule.groups
    weight, bias = (None if part is None else part[:, None].expand(-1, size).reshape(-1) for part in affines[2:])
    return functional.group_norm(values, rule.groups, weight, bias, rule.eps)


def batch_statistics(values: torch.Tensor, rule: Rule) -> BatchMoments:
    """Take the moments of a batch in plain operators, differentiable any number of times."""
    return _over_the_batch(*_plain_moments(values), values, rule)


def pooled_statistics(maps: MapMoments, values: torch.Tensor, rule: Rule) -> BatchMoments:
    """Take the moments of a batch from those of its maps."""
    return _over_the_batch(maps.mean, maps.variance, values, rule)


def _over_the_batch(mean: torch.Tensor, variance: torch.Tensor, values: torch.Tensor, rule: Rule) -> BatchMoments:
    moments = pooled(mean, variance, math.prod(values.shape[2:]))
    return over_processes(moments) if rule.shared else moments


def _plain_moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each map's mean and variance; zeros in place of those of no positions."""
    if values.ndim == 2:
        return values, torch.zeros_like(values)
    if not values.numel():
        sums = values.flatten(2).sum(2)  # zeros with a gradient, which is reduced as the other processes' are
        return sums, sums.square()
    variance, mean = torch.var_mean(values, list(range(2, values.ndim)), correction=0)
    return mean, variance
