"""How fast the micro-batch form of batch-channel norm follows the batches: set, scheduled, split over parts."""

from __future__ import annotations

import math
from typing import Any

from torch import nn, optim
from torch.utils.hooks import RemovableHandle

from weightatlas.nn.batch_channel.running_estimates import check_rate
from weightatlas.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d


def set_update_rate(model: nn.Module, rate: float) -> int:
    """Set the rate of every micro-batch norm of a model.

    The rate is a buffer and is written in place: a compiled model is not compiled again, and nothing waits for the
    device.

    Args:
        model: any network; norms of the large-batch form, which have a momentum instead, stay as they are.
        rate: r, from 0 (the estimates stand still) to 1 (they are the last batch's).

    Returns:
        How many norms were set.

    Raises:
        ValueError: the rate is out of its range, or the model has no such norm.

    Example:
        >>> norm = BatchChannelNorm2d(8, 4, estimated=True)
        >>> set_update_rate(norm, 0.01), round(norm.rate.item(), 4)
        (1, 0.01)
    """
    check_rate(rate)
    norms = [
        module
        for module in model.modules()
        if isinstance(module, (BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d)) and module.estimated
    ]
    if not norms:
        message = "the model has no batch-channel norm that trains by estimates (estimated=True)"
        raise ValueError(message)
    for norm in norms:
        norm.rate.fill_(rate)
    return len(norms)


def follow_learning_rate(
    model: nn.Module, optimizer: optim.Optimizer, *, rate: float = 0.1, highest: float | None = None
) -> RemovableHandle:
    r"""Keep the rate of every micro-batch norm in proportion to the learning rate.

    $$r = r_0 \min\Bigl(1, \frac{\eta}{\eta_{\max}}\Bigr)$$

    with the largest learning rate \(\eta\) of the optimizer's groups: the weights, and with them the moments to follow,
    move the less the smaller it is, and slower estimates have less noise. Set at once and after each step of the
    optimizer, so a scheduler that is stepped after it is followed one step late.

    Args:
        model: a network with such norms.
        optimizer: the one that trains it.
        rate: r0, what the rate is at the highest learning rate.
        highest: the highest learning rate of the schedule; by default what torch's schedulers write into the optimizer:
            `max_lr` (OneCycleLR), else `initial_lr`, else the learning rate it has now. CyclicLR writes its lowest
            alone: give its highest.

    Returns:
        A handle; its `remove()` leaves the rate where it is.

    Raises:
        ValueError: a rate is out of its range, or the model has no such norm.

    **Source:** that the rate follows the learning rate is the paper's as we remember it; its schedule is in no public
    code. Proportion is ours.

    Example:
        >>> norm = BatchChannelNorm2d(8, 4, estimated=True)
        >>> optimizer = optim.SGD(norm.parameters(), lr=0.2)
        >>> handle = follow_learning_rate(norm, optimizer, rate=0.1)
        >>> optimizer.param_groups[0]["lr"] = 0.02
        >>> optimizer.step()
        >>> round(norm.rate.item(), 4)
        0.01
    """
    if highest is None:
        names = ("max_lr", "initial_lr", "lr")
        highest = max(next(float(group[name]) for name in names if name in group) for group in optimizer.param_groups)
    if not highest > 0:
        message = f"highest must be a learning rate above 0, not {highest}"
        raise ValueError(message)
    top, last = highest, -1.0

    def follow(*_: Any) -> None:  # noqa: ANN401 - torch's hook
        nonlocal last
        share = min(1.0, max(float(group["lr"]) for group in optimizer.param_groups) / top)
        if share != last:
            set_update_rate(model, rate * share)
            last = share

    follow()
    return optimizer.register_step_post_hook(follow)


def accumulation_rate(rate: float, parts: int) -> float:
    r"""The rate for each of the parts of a batch whose gradients are accumulated.

    A norm sees each part as a batch. With a rate r' for a part, what was estimated before keeps the weight
    \((1 - r')^p\) after p parts, and should keep \(1 - r\), as after the whole batch at once:

    $$r' = 1 - (1 - r)^{1/p}$$

    The estimates then forget as fast per step of the optimizer, whatever the parts. They are not the whole batch's:
    later parts weigh a little more, and each part is normalised by the estimates as they are then.

    Args:
        rate: r, from 0 to 1, for a whole batch.
        parts: p, 1 or more.

    Returns:
        r', from 0 to 1.

    Raises:
        ValueError: one of them is out of its range.

    Example:
        >>> accumulation_rate(0.75, 2)
        0.5
    """
    check_rate(rate)
    if parts < 1:
        message = f"parts must be at least 1, not {parts}"
        raise ValueError(message)
    return -math.expm1(math.log1p(-rate) / parts) if rate < 1 else 1.0
