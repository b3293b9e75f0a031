"""Batch norm over the batch of all processes together, on any device."""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronised(model: nn.Module) -> nn.Module:
    r"""Copy a model so that its batch norms take their statistics from the batch over all processes.

    In training, with a process group of two or more, a channel with values x_i over the batch of all processes, N in
    all, is normalised by

    $$\mu = \frac{1}{N} \sum_i x_i, \qquad \sigma^2 = \frac{1}{N} \sum_i (x_i - \mu)^2,$$

    each sum all-reduced, in that order: two passes, so that a mean far from zero costs the variance no digits. Shares
    may be uneven, and empty. The gradient is that of the same function of all inputs: with g the gradient at the
    normalised values y,

    $$\frac{\partial L}{\partial x_i} = \frac{1}{\sqrt{\sigma^2 + \varepsilon}}
    \Bigl(g_i - \frac{1}{N} \sum_j g_j - \frac{y_i}{N} \sum_j g_j y_j\Bigr), \qquad L = \sum_{processes} L_r,$$

    its sums all-reduced too. Running estimates are the same on every process. In evaluation, without a process group,
    or in a group of one, each is plain batch norm, bit for bit.

    Every process must run the model forward (and backward) as often as the others: a reduction waits for all.

    Args:
        model: a network with any of `torch.nn.BatchNorm1d`, `2d` and `3d`, or timm's `BatchNormAct2d`; frozen batch
            norms, and `torch.nn.SyncBatchNorm`, stay as they are.

    Returns:
        A copy with the same names in its state dict; the model given is left as it was.

    Raises:
        ValueError: a batch norm is of a class of its own, whose forward pass is not known.

    **Source:** Ioffe and Szegedy, Batch Normalization (ICML 2015), algorithm 1, over the global batch. PyTorch's
    `SyncBatchNorm` does the same on accelerators only; it refuses tensors of the CPU, where gloo runs.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> together = synchronised(model)
        >>> type(together[1]).__name__, together.state_dict().keys() == model.state_dict().keys()
        ('SynchronisedBatchNorm2d', True)
    """
    changed = copy.deepcopy(model)
    for name, module in changed.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, (nn.SyncBatchNorm, _AcrossProcesses)):
            module.__class__ = _counterpart(module, name)
    return changed


class _Normalise(torch.autograd.Function):
    """Centre and scale each channel by statistics over all processes; the sums are all-reduced in both directions."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, ...]:  # noqa: ANN401 - torch's
        """Give the normalised values, and the mean, the variance and the count over all processes."""
        sums = _sums(values)
        totals = _all_reduced(torch.cat((sums, sums.new_full((1,), values.numel() // values.shape[1]))))
        count = totals[-1]
        mean = totals[:-1] / count
        centred = values - _spread(mean, values)
        variance = _all_reduced(_sums(centred.square())) / count
        scale = _spread((variance + epsilon).rsqrt(), values)
        normalised = centred.mul_(scale)
        ctx.save_for_backward(normalised, scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return normalised, mean, variance, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        """Give the gradient at the values: each process's share of that of the sum of all losses."""
        normalised, scale, count = ctx.saved_tensors
        along = torch.stack((_sums(gradient), _sums(gradient * normalised)))
        mean, slope = _all_reduced(along) / count
        rest = gradient - _spread(mean, gradient) - normalised * _spread(slope, gradient)
        return rest * scale, None


class _AcrossProcesses(_BatchNorm):
    """What turns a batch norm of one process into one of all processes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        """Normalise, with the statistics of all processes in training."""
        if not self.training or not _is_shared():
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        normalised, mean, variance, count = _Normalise.apply(values, self.eps)  # type: ignore[no-untyped-call]
        self._track(mean, variance, count)
        answer: torch.Tensor = normalised.clone() if self.weight is None else normalised * _spread(self.weight, values)
        if self.bias is not None:
            answer = answer + _spread(self.bias, values)
        return answer.to(input.dtype)  # never the saved values themselves: an activation may work in place

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        """Move the running estimates: the variance there is the unbiased one."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1))
        for estimate, seen in ((self.running_mean, mean), (self.running_var, unbiased)):
            estimate.mul_(1 - share).add_(seen.to(estimate.dtype), alpha=share)


class SynchronisedBatchNorm1d(_AcrossProcesses, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over all processes."""


class SynchronisedBatchNorm2d(_AcrossProcesses, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over all processes."""


class SynchronisedBatchNorm3d(_AcrossProcesses, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d` over all processes."""


class SynchronisedBatchNormAct2d(SynchronisedBatchNorm2d):
    """timm's `BatchNormAct2d` over all processes: a dropout and an activation follow."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        """Normalise, drop, activate."""
        answer: torch.Tensor = self.act(self.drop(super().forward(input)))
        return answer


_COUNTERPARTS: Final = MappingProxyType(
    {
        nn.BatchNorm1d: SynchronisedBatchNorm1d,
        nn.BatchNorm2d: SynchronisedBatchNorm2d,
        nn.BatchNorm3d: SynchronisedBatchNorm3d,
    }
)


def _counterpart(module: _BatchNorm, name: str) -> type[_AcrossProcesses]:
    kind = type(module)
    if kind in _COUNTERPARTS:
        return _COUNTERPARTS[kind]
    if kind.__name__ == "BatchNormAct2d" and kind.__module__.partition(".")[0] == "timm":
        return SynchronisedBatchNormAct2d
    message = f"{name or 'the model'} is a {kind.__name__}: only torch's own batch norms and timm's can be synchronised"
    raise ValueError(message)


def _is_shared() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _sums(values: torch.Tensor) -> torch.Tensor:
    """The sum of each channel, in double precision from here on: C numbers cost nothing, and counts stay exact."""
    return values.sum([axis for axis in range(values.ndim) if axis != 1]).double()


def _all_reduced(sums: torch.Tensor) -> torch.Tensor:
    distributed.all_reduce(sums)
    return sums


def _spread(numbers: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """One number a channel, in the shape and dtype that goes with the values."""
    return numbers.to(values.dtype).view(1, -1, *(1 for _ in values.shape[2:]))
