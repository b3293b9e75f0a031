"""Mean and variance of each channel of each sample on a CPU, and what else a fused norm needs: one pass each."""

from __future__ import annotations

from typing import NamedTuple

import torch


class MapMoments(NamedTuple):
    """Moments of each channel of each sample over its positions.

    Attributes:
        mean: (samples, channels).
        variance: (samples, channels), biased.
        centred: the values less their mean and over the root of their variance plus epsilon, where the pass that took
            the moments made them anyway; a scratch tensor, free to be written over.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    centred: torch.Tensor | None = None


def map_moments(values: torch.Tensor, eps: float) -> MapMoments:
    r"""Take the mean and the biased variance of every map in one stable step.

    $$m_{nc} = \frac1P \sum_p x_{ncp}, \qquad v_{nc} = \frac1P \sum_p (x_{ncp} - m_{nc})^2$$

    The kernel is chosen by memory format, for speed: torch's `var_mean` is 10 to 20 times slower on a CPU than the
    passes inside its norms. None of them subtracts a squared mean from a mean square. (torch's group norm does, for
    channels-last tensors; it is not used for them.)

    Args:
        values: (samples, channels, ...) of float32 or float64, on a CPU, contiguous or with the channels last.
        eps: what `centred` adds to the variance.

    Returns:
        The moments, in the dtype of the values; zeros where there are none.
    """
    samples, channels = values.shape[:2]
    if not values.numel():  # one process's share of a batch may be empty, and still takes part in the reductions
        return MapMoments(values.new_zeros(samples, channels), values.new_zeros(samples, channels))
    if values.is_contiguous():
        maps = samples * channels
        centred, mean, deviation = torch.native_group_norm(
            values.view(1, maps, -1), None, None, 1, maps, values.numel() // maps, maps, eps
        )
        variance = deviation.pow(-2).sub_(eps).clamp_(min=0)
        # no view: what follows may change the answer in place, which autograd forbids for a function's views
        centred = torch.ops.aten._unsafe_view(centred, values.shape)  # noqa: SLF001 - an operator's name
        return MapMoments(mean.view(samples, channels), variance.view(samples, channels), centred)
    found = [torch.batch_norm_update_stats(sample, None, None, 0.0) for sample in torch.split(values, 1)]
    means, variances = zip(*found, strict=True)
    return MapMoments(torch.stack(means), torch.stack(variances))


def map_products(gradient: torch.Tensor, values: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Sum each map of a gradient, alone and times the centred values: \(\sum_p g\) and \(\sum_p g (x - m)\).

    Args:
        gradient: (samples, channels, ...).
        values: of the same shape, dtype and memory format.
        mean: (samples, channels).

    Returns:
        Both sums, (samples, channels).
    """
    samples, channels = values.shape[:2]
    if not values.numel():
        return values.new_zeros(samples, channels), values.new_zeros(samples, channels)
    if values.is_contiguous():
        maps = samples * channels
        products, sums = _cpu_products(gradient.view(1, maps, -1), values.view(1, maps, -1), mean.reshape(maps))
        return sums.view(samples, channels), products.view(samples, channels)
    found = [
        _cpu_products(*parts)
        for parts in zip(torch.split(gradient, 1), torch.split(values, 1), mean.unbind(), strict=True)
    ]
    products, sums = (torch.stack(each) for each in zip(*found, strict=True))
    return sums, products


def scaled(values: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Give `scale x + shift` with one scale and one shift a map, in the memory format of the values."""
    scale, shift = over_maps(scale, values), over_maps(shift, values)
    if values.is_contiguous():
        return (values * scale).add_(shift)  # two vectorised passes beat torch's ternary kernel where positions run on
    return torch.addcmul(shift, values, scale)


def over_maps(numbers: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Numbers of (..., channels) in the shape that goes with (samples, channels, ...)."""
    return numbers.view(*numbers.shape, *(1 for _ in values.shape[2:]))


def is_channels_last(values: torch.Tensor) -> bool:
    """Whether a tensor is dense with its channels innermost."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return values.ndim in formats and values.is_contiguous(memory_format=formats[values.ndim])


def _cpu_products(
    gradient: torch.Tensor, values: torch.Tensor, mean: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients at the affine of an evaluated batch norm of mean m and variance one are just these sums."""
    one = torch.ones_like(mean)
    _, products, sums = torch.ops.aten.native_batch_norm_backward(
        gradient, values, one, mean, one, None, None, False, 0.0, [False, True, True]
    )
    return products, sums
