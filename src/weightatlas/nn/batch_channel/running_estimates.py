"""A channel's mean and variance over a batch, over all processes' batches, and over the batches seen so far."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import distributed

from weightatlas.nn.batch_channel.forward_pass import is_eager


class BatchMoments(NamedTuple):
    """Moments of each channel over a batch and its positions.

    Attributes:
        size: 0-d, the values a channel has, as a floating-point number.
        mean: (channels,).
        variance: (channels,), biased: the mean squared distance from `mean`.
    """

    size: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor


class Estimates(NamedTuple):
    """Running estimates of a layer's channels.

    Attributes:
        mean: (channels,).
        variance: (channels,).
        batches: 0-d, whole: how many batches they have followed.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    batches: torch.Tensor


def check_rate(rate: float, warmup: int = 0) -> None:
    """Refuse a rate outside of 0 to 1, and fewer batches of warm-up than none.

    Raises:
        ValueError: one of them is.
    """
    if not 0 <= rate <= 1:
        message = f"rate must be from 0 to 1, not {rate}"
        raise ValueError(message)
    if warmup < 0:
        message = f"warmup must be a number of batches, not {warmup}"
        raise ValueError(message)


def pooled(mean: torch.Tensor, variance: torch.Tensor, positions: int) -> BatchMoments:
    r"""Pool the moments of each sample's channels into those of the batch, without loss of digits.

    $$\mu_c = \frac1N \sum_n m_{nc}, \qquad \sigma_c^2 = \frac1N \sum_n \bigl(v_{nc} + (m_{nc} - \mu_c)^2\bigr)$$

    Args:
        mean: (samples, channels), each sample's mean over positions.
        variance: the same shape, biased.
        positions: how many positions a sample has.

    Returns:
        The moments; zeros, with a size of zero, where the batch is empty.

    Example:
        >>> size, mean, variance = pooled(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [0.5]]), 4)
        >>> size.item(), mean.item(), variance.item()
        (8.0, 2.0, 1.5)
    """
    samples = len(mean)
    if samples == 1:
        return BatchMoments(mean.new_full((), positions), mean[0], variance[0])
    centre = mean.sum(0) / max(samples, 1)
    spread = (variance + (mean - centre).square()).sum(0) / max(samples, 1)
    return BatchMoments(centre.new_full((), samples * positions), centre, spread)


def over_processes(moments: BatchMoments) -> BatchMoments:
    r"""Pool the moments of all processes, each weighted by its size; differentiable, any number of times.

    Two reductions, of C + 1 and of C numbers in double precision: the means, and then the squares about their mean, so
    that a mean far from zero costs the variance no digits. Shares may be uneven, and empty. Without a process group, or
    in a group of one, the moments come back as they are.

    Args:
        moments: what this process found. Every process must call this as often as the others.

    Returns:
        The same numbers on every process.
    """
    if not is_shared():
        return moments
    size, mean, variance = (part.double() for part in moments)
    totals = all_reduced(torch.cat((size * mean, size.view(1))))
    total = totals[-1].clamp(min=1)
    centre = totals[:-1] / total
    spread = all_reduced(size * (variance + (mean - centre).square())) / total
    kind = moments.mean.dtype
    return BatchMoments(totals[-1].to(kind), centre.to(kind), spread.to(kind))


def towards(estimates: Estimates, moments: BatchMoments, rate: torch.Tensor, *, warmup: int = 0) -> Estimates:
    r"""Move the estimates towards a batch: the rule of the micro-batch form.

    With the estimates \(\hat\mu, \hat\sigma^2\) before the batch and the rate r,

    $$\hat\mu' = (1 - r) \hat\mu + r m, \qquad
    \hat\sigma^{2\prime} = (1 - r) \hat\sigma^2 + \frac{r}{|B|} \sum_{x \in B} (x - \hat\mu)^2:$$

    the variance is taken about the mean estimated *before* the batch, and is biased. The first `warmup` batches are
    pooled exactly instead (Welford): for batch t, r = 1 / t and \((x - \hat\mu)(x - \hat\mu')\) in place of the square,
    so that after batch `warmup` the estimates are the mean and the biased variance of all values seen, if the batches
    were of one size, whatever the estimates were before the first.

    Args:
        estimates: before the batch.
        moments: the batch's.
        rate: r, 0-d, from 0 to 1: a tensor, so that a change of rate recompiles nothing and waits for no device.
        warmup: how many batches to pool exactly.

    Returns:
        The estimates after it, in the dtype of the moments. A batch without values, or with a moment that is not
        finite (or that the estimates' dtype cannot hold), leaves them as they were, and is not counted: one bad batch
        would otherwise spoil all that follow. What it does to the loss is for the loop to see.

    **Source:** the authors' code for Micro-Batch Training with Batch-Channel Normalization and Weight Standardization
    ("EstBN"); its rate starts at zero and nothing public sets it. The warm-up and the treatment of values that are not
    finite are ours.
    """
    kind = moments.mean.dtype
    mean, variance = estimates.mean.to(kind), estimates.variance.to(kind)
    batches = estimates.batches + 1
    share, part = _shares(batches, rate.to(kind), warmup)
    spread = moments.variance + (moments.mean - mean).square() * part
    after = Estimates(_between(mean, moments.mean, share), _between(variance, spread, share), batches)
    return _kept(estimates, after, moments)


def averaged(estimates: Estimates, moments: BatchMoments, momentum: float | None) -> Estimates:
    r"""Move the estimates towards a batch: the rule of torch's batch norm.

    $$\hat\mu' = (1 - a) \hat\mu + a m, \qquad \hat\sigma^{2\prime} = (1 - a) \hat\sigma^2 + a \frac{n}{n - 1} v$$

    with the batch's n values a channel, and a the momentum, or one over the number of batches where that is None.

    Args:
        estimates: before the batch.
        moments: the batch's.
        momentum: a, or None for the plain average of all batches.

    Returns:
        The estimates after it, in the dtype of the moments; a batch without values, or with moments that are not
        finite, leaves them as they were (torch's would turn to NaN for good).
    """
    kind = moments.mean.dtype
    mean, variance = estimates.mean.to(kind), estimates.variance.to(kind)
    batches = estimates.batches + 1
    share = batches.to(kind).reciprocal() if momentum is None else momentum
    unbiased = moments.variance * (moments.size / (moments.size - 1).clamp(min=1))
    after = Estimates(_between(mean, moments.mean, share), _between(variance, unbiased, share), batches)
    return _kept(estimates, after, moments)


def is_shared() -> bool:
    """Whether a process group of two or more is open."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def all_reduced(numbers: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all processes; so is its gradient, and the gradient's."""
    total: torch.Tensor = _AllReduce.apply(numbers)  # type: ignore[no-untyped-call]
    return total


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, numbers: torch.Tensor) -> torch.Tensor:  # noqa: ANN401, ARG004 - torch's
        total = numbers.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401, ARG004 - torch's
        return all_reduced(gradient.contiguous())


def _shares(
    batches: torch.Tensor, rate: torch.Tensor, warmup: int
) -> tuple[torch.Tensor, torch.Tensor] | tuple[float, float]:
    """How far to go towards a batch, and what part of the squared way is variance; as plain numbers where they are."""
    if _is_at_hand(batches):
        count = int(batches)
        return (1 / count, 1 - 1 / count) if count <= warmup else (float(rate), 1.0)
    warming = batches <= warmup
    share = torch.where(warming, batches.to(rate.dtype).reciprocal(), rate)
    return share, torch.where(warming, 1 - share, torch.ones_like(share))


def _is_at_hand(numbers: torch.Tensor) -> bool:
    """Whether a look at numbers waits for nothing: then branches in Python cost less than operators that choose."""
    return numbers.device.type == "cpu" and is_eager(numbers)


def _between(before: torch.Tensor, seen: torch.Tensor, share: torch.Tensor | float) -> torch.Tensor:
    return torch.lerp(before, seen, share)


def _kept(before: Estimates, after: Estimates, moments: BatchMoments) -> Estimates:
    """What came after where all of it can be held, what was before otherwise; decided on the device."""
    if _is_at_hand(moments.mean) and before.mean.dtype == after.mean.dtype and float(moments.size) > 0:
        total = after.mean.sum() + after.variance.sum()
        if math.isfinite(float(total)):  # else it may still be that only the sum is not
            return after
    held = [part.to(buffer.dtype).isfinite().all() for part, buffer in zip(after[:2], before[:2], strict=True)]
    usable = held[0] & held[1] & (moments.size > 0)
    return Estimates(*(torch.where(usable, new, old.to(new.dtype)) for new, old in zip(after, before, strict=True)))
