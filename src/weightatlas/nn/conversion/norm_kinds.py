"""Which module is which norm, and what is needed to put another in its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from weightatlas.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d
from weightatlas.nn.conversion.activated import ACTIVATED
from weightatlas.nn.synchronised import (
    SynchronisedBatchNorm1d,
    SynchronisedBatchNorm2d,
    SynchronisedBatchNorm3d,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH_CHANNEL: Final = (BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d)
SYNCHRONISED: Final = (
    nn.SyncBatchNorm,
    SynchronisedBatchNorm1d,
    SynchronisedBatchNorm2d,
    SynchronisedBatchNorm3d,
)

_OWN_FORWARD: Final = frozenset(
    {
        *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
        *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        *(*BATCH_CHANNEL, *SYNCHRONISED),
        *ACTIVATED.values(),
    }
)
"""Classes whose forward pass is known, by what they are."""

_TIMM: Final = frozenset(
    {"BatchNormAct2d", "SyncBatchNormAct", "GroupNorm", "GroupNorm1", "GroupNormAct", "GroupNorm1Act"}
)
"""Classes of timm whose forward pass is known: the norm, then `drop` and `act` where it has them."""

_CHANNELS: Final = ("num_features", "num_channels", "channels")
_CHANNEL_NORM: Final = re.compile(r"(Layer|RMS|Rms|Simple)Norm(Exp|Act)?(2d)?(Fp32)?$")
"""How timm, torchvision and transformers call their norms over channels."""

WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "batch": "batch norm",
        "sync-batch": "batch norm over all processes",
        "frozen-batch": "frozen batch norm",
        "group": "group norm",
        "instance": "instance norm",
        "batch-channel": "batch-channel norm",
        "layer": "layer norm",
        "other": "norm",
    }
)
"""Kinds of norm, in words."""


@dataclass(frozen=True, slots=True)
class Norm:
    """What a norm is.

    Attributes:
        kind: a key of `WORDS`.
        channels: how many it normalises; 0 where it does not say.
        dimensions: positions' axes that its class takes (1, 2 or 3), or None where any.
        left: why nothing can take its place; else empty.
    """

    kind: str
    channels: int
    dimensions: int | None = None
    left: str = ""


def read_norm(module: nn.Module) -> Norm | None:
    """What norm a module is, or None where it is none.

    Example:
        >>> read_norm(nn.BatchNorm2d(8))
        Norm(kind='batch', channels=8, dimensions=2, left='')
        >>> read_norm(nn.ReLU()) is None
        True
    """
    name = type(module).__name__
    if _CHANNEL_NORM.search(name) or isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return Norm("layer", 0, left=f"{name} normalises the channels of each position, whatever the batch")
    kind = _kind(module)
    if kind is None:
        return None
    channels = next((getattr(module, key) for key in _CHANNELS if hasattr(module, key)), None)
    if channels is None:
        channels = dict(module.named_buffers(recurse=False))["running_mean"].numel()
    return Norm(kind, channels, _dimensions(module), _left(module, kind, name))


def _kind(module: nn.Module) -> str | None:
    kinds: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
        ("batch-channel", BATCH_CHANNEL),
        ("sync-batch", SYNCHRONISED),
        ("batch", (_BatchNorm,)),
        ("group", (nn.GroupNorm,)),
        ("instance", (_InstanceNorm,)),
    )
    for kind, classes in kinds:
        if isinstance(module, classes):
            return kind
    return "frozen-batch" if _is_frozen(module) else None


def _is_frozen(module: nn.Module) -> bool:
    """A batch norm whose figures are all buffers: torchvision's, timm's, and those that transformers' models bring."""
    held = {name for name, _ in module.named_buffers(recurse=False)}
    return "FrozenBatchNorm" in type(module).__name__ and {"weight", "bias", "running_mean", "running_var"} <= held


def _dimensions(module: nn.Module) -> int | None:
    name = type(module).__name__
    return next((axes for axes in (1, 2, 3) if name.endswith(f"{axes}d")), None)


def _left(module: nn.Module, kind: str, name: str) -> str:
    if type(module).__module__.startswith("torch.ao."):
        return f"{name} is made for quantisation"
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return f"{name} is not built yet"
    known = type(module) in _OWN_FORWARD or kind == "frozen-batch"
    if known or (name in _TIMM and type(module).__module__.partition(".")[0] == "timm"):
        return ""
    return f"{name} has a forward pass of its own"
