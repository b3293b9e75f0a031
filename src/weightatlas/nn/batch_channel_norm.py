"""Batch-channel normalisation: batch norm, by the batch or by running estimates, and then channel norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from weightatlas.errors import NotFiniteError
from weightatlas.nn.batch_channel.batch_then_channel import (
    Affines,
    Rule,
    batch_statistics,
    by_torch,
    pooled_statistics,
    unfused,
)
from weightatlas.nn.batch_channel.forward_pass import is_eager, is_repeated
from weightatlas.nn.batch_channel.fused_channel_norm import fused
from weightatlas.nn.batch_channel.map_moments import is_channels_last, map_moments
from weightatlas.nn.batch_channel.running_estimates import (
    BatchMoments,
    Estimates,
    averaged,
    check_rate,
    is_shared,
    towards,
)

FUSED_FROM: Final = 2**16
"""Values from which the fused way is faster on a CPU; below, what it costs to call its operators decides."""


def group_count(channels: int, groups: int = 32, *, smallest: int = 2) -> int:
    """The largest divisor of `channels` that is at most `groups` and leaves groups of at least `smallest` channels.

    Args:
        channels: how many there are.
        groups: the most to make of them.
        smallest: the fewest channels a group may have; a group of one channel on a 1x1 map has nothing to normalise.

    Returns:
        The count; 1 where none fits.

    Raises:
        ValueError: one of the numbers is below 1.

    Example:
        >>> group_count(256), group_count(24), group_count(48, 32), group_count(7)
        (32, 12, 24, 1)
    """
    if min(channels, groups, smallest) < 1:
        message = f"channels, groups and smallest must be at least 1, not {channels}, {groups} and {smallest}"
        raise ValueError(message)
    counts = range(min(groups, channels // smallest), 1, -1)
    return next((count for count in counts if channels % count == 0), 1)


class _BatchChannelNorm(nn.Module):
    """What the three classes share; `BatchChannelNorm2d` says what it is."""

    dimensions: tuple[int, ...]
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    channel_weight: nn.Parameter | None
    channel_bias: nn.Parameter | None
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor
    rate: torch.Tensor

    def __init__(
        self,
        channels: int,
        groups: int = 32,
        *,
        estimated: bool = False,
        rate: float = 0.1,
        warmup: int = 0,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        synchronized: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check(channels, groups, rate, warmup)
        self.channels, self.groups, self.affine = channels, groups, affine
        self.estimated, self.synchronized, self.warmup = estimated, synchronized, warmup
        self.eps, self.momentum = eps, momentum
        sizes = {"weight": channels, "bias": channels, "channel_weight": groups, "channel_bias": groups}
        for name, size in sizes.items():
            made = nn.Parameter(torch.empty(size, device=device, dtype=dtype)) if affine else None
            self.register_parameter(name, made)
        self.register_buffer("running_mean", torch.empty(channels, device=device, dtype=dtype))
        self.register_buffer("running_var", torch.empty(channels, device=device, dtype=dtype))
        self.register_buffer("num_batches_tracked", torch.tensor(0, device=device))
        self.register_buffer("rate", torch.tensor(float(rate), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the batches: estimates of zero and one, as before the first."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the affines to ones and zeros, and forget the batches."""
        self.reset_running_stats()
        if self.affine:
            for name in ("weight", "channel_weight"):
                nn.init.ones_(getattr(self, name))
            for name in ("bias", "channel_bias"):
                nn.init.zeros_(getattr(self, name))

    def extra_repr(self) -> str:
        """Say what the norm was made with."""
        form = f"estimated=True, warmup={self.warmup}" if self.estimated else f"momentum={self.momentum}"
        more = ", synchronized=True" if self.synchronized else ""
        return f"{self.channels}, groups={self.groups}, {form}, eps={self.eps}, affine={self.affine}{more}"

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        """Normalise; in training, move the running estimates too."""
        self._check_input(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        rule = Rule(
            self.groups,
            self.eps,
            follows=self.training and not self.estimated,
            shared=self.training and (self.estimated or self.synchronized) and is_shared(),
        )
        parts = (self.weight, self.bias, self.channel_weight, self.channel_bias)
        affines = Affines(*(None if part is None else part.to(values.dtype) for part in parts))
        return self._normalised(values, affines, rule).to(input.dtype)

    def _normalised(self, values: torch.Tensor, affines: Affines, rule: Rule) -> torch.Tensor:
        """Normalise by whichever of three equal ways is the fastest of those that can."""
        eager = is_eager(values) and values.ndim > 2
        if eager and _has_fused_kernels(values):
            if not (values.is_contiguous() or is_channels_last(values)):
                values = values.contiguous()
            with torch.no_grad():
                maps = map_moments(values.detach(), self.eps)
                self._refuse_not_finite(maps.mean)
                statistics = self._statistics(lambda: pooled_statistics(maps, values, rule), rule, values.dtype)
            return fused(values, maps, statistics, affines, rule)
        eager = eager and values.numel() > 0
        if eager and values.device.type == "cpu":
            self._refuse_not_finite(values.detach())
        if eager and rule.follows and not rule.shared:
            answer, moments = by_torch(values, None, affines, rule)
            self._statistics(lambda: moments, rule, values.dtype)
            return answer
        statistics = self._statistics(lambda: batch_statistics(values, rule), rule, values.dtype)
        if eager and not rule.follows:
            return by_torch(values, statistics, affines, rule)[0]
        return unfused(values, statistics, affines, rule)

    def _refuse_not_finite(self, numbers: torch.Tensor) -> None:
        """See that there is no NaN, where a look makes no device wait: one would spread over its whole group."""
        if not math.isfinite(numbers.sum().item()) and not bool(numbers.isfinite().all()):
            message = f"NaN or infinite values reach a {type(self).__name__} of {self.channels} channels"
            raise NotFiniteError(message)

    def _statistics(self, seen: Callable[[], BatchMoments], rule: Rule, dtype: torch.dtype) -> BatchMoments:
        """What to normalise by; in training the running estimates have followed the batch when it is known."""
        moves = self.training and not is_repeated()
        if rule.follows:
            moments = seen()
            if moves:
                self._follow(moments)
            return moments
        if moves:
            with torch.no_grad():
                self._follow(seen())
        # copies: the next batch moves the buffers, maybe before this one's backward pass
        mean, variance = (part.detach().to(dtype, copy=True) for part in (self.running_mean, self.running_var))
        return BatchMoments(mean.new_ones(()), mean, variance)

    @torch.no_grad()
    def _follow(self, moments: BatchMoments) -> None:
        """Move the running estimates towards a batch."""
        moments = BatchMoments(*(part.detach() for part in moments))
        before = Estimates(self.running_mean, self.running_var, self.num_batches_tracked)
        if self.estimated:
            after = towards(before, moments, self.rate, warmup=self.warmup)
        else:
            after = averaged(before, moments, self.momentum)
        for buffer, estimate in zip(before, after, strict=True):
            buffer.copy_(estimate)

    def _check_input(self, values: torch.Tensor) -> None:
        """Refuse what has the wrong shape, or nothing to be normalised by."""
        if values.ndim not in self.dimensions:
            wanted = " or ".join(f"{dimension}D" for dimension in self.dimensions)
            message = f"expected {wanted} input, got {values.ndim}D"
            raise ValueError(message)
        if values.shape[1] != self.channels:
            message = f"expected {self.channels} channels, got {values.shape[1]}"
            raise ValueError(message)
        single = math.prod(values.shape[2:]) == 1
        if self.channels == self.groups and single:
            message = (
                f"a group of one channel at one position ({tuple(values.shape)}) has nothing to be normalised by: its "
                f"channel norm would be constant; take fewer than {self.groups} groups, or larger maps"
            )
            raise ValueError(message)
        alone = self.training and not self.estimated and not (self.synchronized and is_shared())
        if alone and single and values.shape[0] == 1:
            message = f"expected more than 1 value per channel when training, got {tuple(values.shape)}"
            raise ValueError(message)


class BatchChannelNorm2d(_BatchChannelNorm):
    r"""Batch norm, then channel norm, of maps: by the batch's statistics, or by estimates for batches of one or two.

    Each channel c is first normalised over the batch and its positions; then, in each sample n, each group k of C/G
    channels over the group and its positions:

    $$z = \gamma_c \frac{x - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}} + \beta_c, \qquad
    y = w_k \frac{z - M_{nk}}{\sqrt{U_{nk} + \varepsilon}} + b_k$$

    with M and U the mean and the biased variance of z over the group. What the first goes by:

    - large-batch form: in training, the batch's mean and biased variance, with the gradient through both; running
      estimates are kept as torch's batch norm keeps them (the variance there is unbiased).
    - micro-batch form, `estimated=True`: in training, the running estimates, *after* they moved towards the batch:
      \(\hat\mu' = (1 - r) \hat\mu + r m\) and
      \(\hat\sigma^{2\prime} = (1 - r) \hat\sigma^2 + r \operatorname{mean} (x - \hat\mu)^2\), the variance about the
      mean *before* the batch. They are constants to the gradient. `running_estimates.towards` has the rule and the
      warm-up.
    - in evaluation, and where the norm alone is set to `eval()` in a network that trains: the running estimates, which
      stay as they are.

    Equal to `torch.nn.BatchNorm2d` and then `torch.nn.GroupNorm` with w and b repeated for each channel of a group.
    On a CPU both are done at once, in a pass for the moments and one for the answer, and only the input is kept for the
    gradient; elsewhere torch's two norms run, and `torch.compile` is given plain operators to fuse. Statistics are
    taken in float32 where the input is of half precision, and the answer is given in the input's dtype.

    Args:
        channels: C; (samples, C, height, width) goes in and comes out.
        groups: G, a divisor of C; `group_count` finds one.
        estimated: whether to train by the running estimates.
        rate: r of the micro-batch form, from 0 to 1; afterwards in the buffer `rate`, see `set_update_rate`.
        warmup: of the micro-batch form, how many first batches to pool exactly: the first is normalised by its own
            moments, and after batch k the estimates are the moments of all k.
        eps: what both variances are raised by.
        momentum: a of the large-batch form; None for the plain average of all batches.
        affine: whether the four parameters are there: `weight` and `bias` (C), `channel_weight` and `channel_bias` (G).
        synchronized: of the large-batch form, whether the batch is that of all processes.
        device: where the parameters and buffers are made.
        dtype: of what.

    Raises:
        ValueError: the groups do not divide the channels, or a number is out of its range; forward, the shape is not
            the one described; in training of the large-batch form, a channel has one value; always, groups of one
            channel meet maps of one position: their channel norm is a constant, whatever goes in.
        NotFiniteError: NaN or infinite values come in, on a CPU. On an accelerator, where that look would have to be
            waited for, and in compiled graphs they come out again, and the running estimates leave the batch out.

    **State dict:** torch's `weight`, `bias`, `running_mean`, `running_var` and `num_batches_tracked`, and then
    `channel_weight`, `channel_bias` and `rate`; the same in both forms. A batch norm's loads with `strict=False`.

    **Several processes:** the micro-batch form averages its moments over all of them, weighted by count, whenever a
    process group is open; so does the large-batch form with `synchronized`. Estimates are then equal everywhere, and it
    makes no difference that DistributedDataParallel broadcasts buffers. Every process must run as many batches.

    **Values that are not finite**, and empty batches, leave the estimates as they were and are not counted. The answer
    is not finite wherever such a value enters its statistics: in the micro-batch form, in its own group only.

    **Run twice:** a forward pass inside a backward pass (activation checkpointing) or under `torch.func` leaves the
    estimates alone; torch's batch norm moves them again. A checkpoint's second pass uses the estimates it finds, which
    are those of the first if no other batch came between.

    **Source:** Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization, and the
    authors' code for the affine per group and for the estimates. There the rate starts at zero and no public code sets
    it; 0.1, the warm-up and what is said above of several processes and of values that are not finite are ours.

    Example:
        >>> norm = BatchChannelNorm2d(64, estimated=True, warmup=10)
        >>> norm(torch.randn(1, 64, 7, 7)).shape
        torch.Size([1, 64, 7, 7])
        >>> norm.num_batches_tracked
        tensor(1)
    """

    dimensions = (4,)


class BatchChannelNorm1d(_BatchChannelNorm):
    """`BatchChannelNorm2d` of (samples, channels) or (samples, channels, length)."""

    dimensions = (2, 3)


class BatchChannelNorm3d(_BatchChannelNorm):
    """`BatchChannelNorm2d` of (samples, channels, depth, height, width)."""

    dimensions = (5,)


def _check(channels: int, groups: int, rate: float, warmup: int) -> None:
    if channels < 1 or groups < 1 or channels % groups:
        message = f"groups must divide the channels: {groups} does not divide {channels}; see group_count"
        raise ValueError(message)
    check_rate(rate, warmup)


def _has_fused_kernels(values: torch.Tensor) -> bool:
    """Measured on CPUs only, where the fused way wins; on an accelerator its many small steps would be launches."""
    return values.device.type == "cpu" and values.numel() >= FUSED_FROM
