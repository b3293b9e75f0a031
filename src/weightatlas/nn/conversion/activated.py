"""Norms that a dropout and an activation follow within one module, as timm's BatchNormAct2d has them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from torch import Tensor, nn

from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.synchronised import SynchronisedBatchNorm2d, SynchronisedBatchNormAct2d

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Activated(nn.Module):
    """A norm, then `drop`, then `act`: the state dict keeps the names that it had in timm's module."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """Normalise, drop, activate."""
        answer: Tensor = self.act(self.drop(super().forward(input)))
        return answer


class ActivatedBatchNorm2d(_Activated, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with dropout and activation."""


class ActivatedGroupNorm(_Activated, nn.GroupNorm):
    """`torch.nn.GroupNorm` with dropout and activation."""


class ActivatedInstanceNorm2d(_Activated, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` with dropout and activation."""


class ActivatedBatchChannelNorm2d(_Activated, BatchChannelNorm2d):
    """Batch-channel norm with dropout and activation."""


ACTIVATED: Final[Mapping[type[nn.Module], type[nn.Module]]] = MappingProxyType(
    {
        nn.BatchNorm2d: ActivatedBatchNorm2d,
        SynchronisedBatchNorm2d: SynchronisedBatchNormAct2d,
        nn.GroupNorm: ActivatedGroupNorm,
        nn.InstanceNorm2d: ActivatedInstanceNorm2d,
        BatchChannelNorm2d: ActivatedBatchChannelNorm2d,
    }
)
"""The norm with an activation behind it, by the norm without."""


def with_activation(norm: nn.Module, before: nn.Module) -> nn.Module:
    """Give a norm the dropout and the activation of the one it replaces, where that had them.

    The norm changes its class; it stays the same object with the same parameters.

    Raises:
        ValueError: there is no such norm with an activation.

    Example:
        >>> before = nn.BatchNorm2d(8)
        >>> before.act = nn.ReLU()
        >>> type(with_activation(nn.GroupNorm(4, 8), before)).__name__
        'ActivatedGroupNorm'
    """
    if not has_activation(before):
        return norm
    if type(norm) not in ACTIVATED:
        message = f"a {type(norm).__name__} with an activation is unknown"
        raise ValueError(message)
    norm.__class__ = ACTIVATED[type(norm)]
    for name in ("drop", "act"):
        norm.add_module(name, getattr(before, name, None) or nn.Identity())
    return norm


def has_activation(norm: nn.Module) -> bool:
    """Whether a dropout or an activation belongs to a norm's module."""
    return any(isinstance(getattr(norm, name, None), nn.Module) for name in ("drop", "act"))
