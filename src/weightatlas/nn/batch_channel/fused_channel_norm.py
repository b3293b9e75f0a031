"""The batch and the channel normalisation of batch-channel norm as one scale and one shift a map."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from weightatlas.nn.batch_channel.batch_then_channel import Affines, Rule, batch_statistics, unfused
from weightatlas.nn.batch_channel.map_moments import MapMoments, map_products, over_maps, scaled
from weightatlas.nn.batch_channel.running_estimates import BatchMoments, all_reduced


def fused(
    values: torch.Tensor, maps: MapMoments, statistics: BatchMoments, affines: Affines, rule: Rule
) -> torch.Tensor:
    r"""Normalise as `unfused` does, in one pass over the values forward and two back; only they are kept for those.

    With the mean m and variance v of each map of P positions, and C/G channels a group, z is
    \(s_c (x - \mu_c) + \beta_c\), \(s_c = \gamma_c / \sqrt{\sigma_c^2 + \varepsilon}\), so that its moments follow:

    $$\bar z_{nc} = s_c (m_{nc} - \mu_c) + \beta_c, \quad M_{nk} = \frac{G}{C} \sum_{c \in k} \bar z_{nc}, \quad
    U_{nk} = \frac{G}{C} \sum_{c \in k} \bigl(s_c^2 v_{nc} + (\bar z_{nc} - M_{nk})^2\bigr),$$

    $$y = A_{nc} (x - m_{nc}) + D_{nc}, \quad R = \frac{1}{\sqrt{U + \varepsilon}}, \quad A_{nc} = w_k R_{nk} s_c, \quad
    D_{nc} = w_k R_{nk} (\bar z_{nc} - M_{nk}) + b_k.$$

    Backward, with g the gradient at y, needs each map's sums of g and of \(g (x - m)\); `_gradients` has the rest. The
    gradient of the gradient is that of `unfused`.

    Args:
        values: (samples, channels, ...), as `map_moments` takes them.
        maps: their moments, by `map_moments`.
        statistics: the mean and variance to normalise by; the batch's own where the rule says `follows`.
        affines: gamma, beta, w and b.
        rule: groups, epsilon, and what the statistics depend on.

    Returns:
        The answer, in the memory format of the values.
    """
    answer: torch.Tensor = _Fused.apply(values, *affines, maps, statistics, rule)  # type: ignore[no-untyped-call]
    return answer


class _Terms(NamedTuple):
    """The numbers behind the scale and the shift, each (samples, groups, channels of a group) or ready to broadcast."""

    root: torch.Tensor
    scale: torch.Tensor
    gain: torch.Tensor | float
    deviation: torch.Tensor
    offset: torch.Tensor


def _terms(maps: MapMoments, statistics: BatchMoments, affines: Affines, rule: Rule) -> _Terms:
    """Follow the moments of each map through the batch normalisation to those of each group."""
    grouped = (-1, rule.groups, maps.mean.shape[1] // rule.groups)
    root = (statistics.variance + rule.eps).rsqrt().view(grouped)
    scale = root if affines.weight is None else root * affines.weight.view(grouped)
    centre = (maps.mean - statistics.mean).view(grouped) * scale
    if affines.bias is not None:
        centre = centre + affines.bias.view(grouped)
    deviation = centre - centre.mean(2, keepdim=True)
    spread = (maps.variance.view(grouped) * scale.square() + deviation.square()).mean(2, keepdim=True)
    inverse = (spread + rule.eps).rsqrt()
    gain = 1.0 if affines.channel_weight is None else affines.channel_weight.view(1, -1, 1)
    return _Terms(root, scale, gain, inverse, deviation * inverse)


class _Fused(torch.autograd.Function):
    """One scale and one shift a map; the gradient in closed form."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch hands them over by position
        ctx: Any,  # noqa: ANN401 - torch's
        values: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        channel_weight: torch.Tensor | None,
        channel_bias: torch.Tensor | None,
        maps: MapMoments,
        statistics: BatchMoments,
        rule: Rule,
    ) -> torch.Tensor:
        affines = Affines(weight, bias, channel_weight, channel_bias)
        terms = _terms(maps, statistics, affines, rule)
        slope = (terms.gain * terms.deviation * terms.scale).view_as(maps.mean)
        level = terms.gain * terms.offset
        if channel_bias is not None:
            level = level + channel_bias.view(1, -1, 1)
        level = level.view_as(maps.mean)
        ctx.maps, ctx.statistics, ctx.rule, ctx.terms = MapMoments(maps.mean, maps.variance), statistics, rule, terms
        ctx.save_for_backward(values, *affines)
        if maps.centred is None:
            return scaled(values, slope, level - slope * maps.mean)
        spread = slope * (maps.variance + rule.eps).sqrt()
        return maps.centred.mul_(over_maps(spread, values)).add_(over_maps(level, values))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401 - torch's
        values, *parts = ctx.saved_tensors
        affines = Affines(*parts)
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            return (*_differentiable(gradient, values, affines, ctx), None, None, None)
        return (*_gradients(gradient, values, affines, ctx), None, None, None)


def _gradients(
    gradient: torch.Tensor,
    values: torch.Tensor,
    affines: Affines,
    ctx: Any,  # noqa: ANN401 - torch's
) -> tuple[torch.Tensor | None, ...]:
    r"""The gradient at the values and the four parameters, from each map's sums of g and of \(g (x - m)\).

    Back through the channel normalisation the gradient at z is \(w R (g - G_1 - \hat z G_2)\), with G1 and G2 the means
    over the group of g and of \(g \hat z\); back through the batch normalisation, where its statistics follow the
    batch, it loses its mean over the batch and what lies along the normalised values. Each term is a multiple of g, of
    x - m or of one.
    """
    maps, statistics, rule, terms = ctx.maps, ctx.statistics, ctx.rule, ctx.terms
    shape = maps.mean.shape
    positions = math.prod(values.shape[2:])
    grouped = terms.offset.shape
    if gradient.stride() != values.stride():
        gradient = torch.empty_like(values).copy_(gradient)
    sums, products = (part.view(grouped) for part in map_products(gradient, values, maps.mean))
    tilt = terms.deviation * terms.scale
    along = tilt * products + terms.offset * sums
    mean_gradient = sums.sum(2, keepdim=True) / (grouped[2] * positions)
    mean_along = along.sum(2, keepdim=True) / (grouped[2] * positions)
    gain = terms.gain * terms.deviation
    level = mean_gradient + terms.offset * mean_along
    sums_behind = gain * (sums - positions * level)
    products_behind = gain * (products - tilt * mean_along * (positions * maps.variance.view(grouped)))
    distance = (maps.mean - statistics.mean).view(grouped)
    for_bias = sums_behind.sum(0).view(-1)
    for_weight = (terms.root * (products_behind + distance * sums_behind)).sum(0).view(-1)
    slope = gain * terms.scale
    linear, constant = -slope * tilt * mean_along, -slope * level
    if rule.follows:
        both = torch.cat((for_bias, for_weight))
        whole = all_reduced(both.double()).to(both.dtype) if rule.shared else both
        mean_bias, mean_weight = (
            (part / statistics.size.clamp(min=1)).view(1, *grouped[1:]) for part in whole.chunk(2)
        )
        linear = linear - terms.scale * terms.root * mean_weight
        constant = constant - terms.scale * (mean_bias + terms.root * distance * mean_weight)
    linear, constant, slope = (part.reshape(shape) for part in (linear, constant, slope))
    answer = None
    if ctx.needs_input_grad[0]:
        answer = scaled(values, linear, constant - linear * maps.mean).addcmul_(gradient, over_maps(slope, values))
    found = (for_weight, for_bias, along.sum((0, 2)), sums.sum((0, 2)))
    return (answer, *(None if part is None else each for part, each in zip(affines, found, strict=True)))


def _differentiable(
    gradient: torch.Tensor,
    values: torch.Tensor,
    affines: Affines,
    ctx: Any,  # noqa: ANN401 - torch's
) -> tuple[torch.Tensor | None, ...]:
    """The same gradients, as functions that can be differentiated again."""
    statistics = batch_statistics(values, ctx.rule) if ctx.rule.follows else ctx.statistics
    answer = unfused(values, statistics, affines, ctx.rule)
    needed = ctx.needs_input_grad[:5]
    wanted = [part for part, used in zip((values, *affines), needed, strict=True) if used and part is not None]
    found = iter(torch.autograd.grad(answer, wanted, gradient, create_graph=True))
    return tuple(next(found) if used else None for used in needed)
