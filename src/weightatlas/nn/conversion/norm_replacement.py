"""A norm of another kind in the place of one: how it is built, and what it takes over."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from weightatlas.nn.batch_channel.running_estimates import check_rate
from weightatlas.nn.batch_channel_norm import (
    BatchChannelNorm1d,
    BatchChannelNorm2d,
    BatchChannelNorm3d,
    group_count,
)
from weightatlas.nn.conversion.activated import has_activation, with_activation
from weightatlas.nn.synchronised import SynchronisedBatchNorm1d, SynchronisedBatchNorm2d, SynchronisedBatchNorm3d

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.nn.conversion.norm_kinds import Norm

BATCH: Final = ("batch", "sync-batch", "frozen-batch")
"""Kinds that scale and shift each channel by estimates over batches: what one holds means the same in another."""

_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bn": "batch",
        "syncbn": "sync-batch",
        "gn": "group",
        "bcn": "batch-channel",
        "micro-bcn": "batch-channel",
        "in": "instance",
    }
)
_BY_AXES: Final[Mapping[str, tuple[type[nn.Module], ...]]] = MappingProxyType(
    {
        "bn": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        "syncbn": (SynchronisedBatchNorm1d, SynchronisedBatchNorm2d, SynchronisedBatchNorm3d),
        "in": (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        "bcn": (BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d),
        "micro-bcn": (BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d),
    }
)


@dataclass(frozen=True, slots=True)
class NormOptions:
    """What the new norms are like.

    Attributes:
        groups: at most so many groups of channels.
        rate: of the estimates of micro-batch batch-channel norm, from 0 to 1.
        warmup: batches whose plain average those begin with.

    Raises:
        ValueError: one of them is out of range.
    """

    groups: int = 32
    rate: float = 0.1
    warmup: int = 0

    def __post_init__(self) -> None:
        """Refuse what no norm could have, whether or not the recipe has a norm that takes it."""
        if self.groups < 1:
            message = f"groups must be 1 or more, not {self.groups}"
            raise ValueError(message)
        check_rate(self.rate, self.warmup)


@dataclass(frozen=True, slots=True)
class NewNorm:
    """A norm to put in the place of another.

    Attributes:
        module: the new one.
        groups: of channels that it normalises together, or None.
        carried: what it has from the old one, in words; the rest is as new.
    """

    module: nn.Module
    groups: int | None
    carried: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a norm stands.

    Attributes:
        axes: axes of its input, or None where no pass reached it.
        dimensions: those of positions that the convolution before it has, or None.
        fresh: the weights before it are standardised now: estimates of what they gave before fit no more.
        trainable: whether parameters that it did not have before are trained.
        device: of what stands there.
        dtype: of its numbers.
    """

    axes: int | None
    dimensions: int | None
    fresh: bool
    trainable: bool
    device: torch.device
    dtype: torch.dtype


def is_already(module: nn.Module, known: Norm, target: str) -> bool:
    """Whether a norm is what a recipe asks for."""
    estimated = getattr(module, "estimated", None)
    return known.kind == _KINDS[target] and (estimated is None or estimated == (target == "micro-bcn"))


def new_norm(module: nn.Module, known: Norm, target: str, place: Place, options: NormOptions) -> NewNorm | str:
    """Build the norm that takes the place of another, or say why there is none.

    The epsilon, the momentum, the training mode and whether there is an affine part, and whether that is trained, are
    those of the old norm.

    Carried over where it means the same: the affine part and the running estimates between batch norms of any kind
    (synchronised, frozen), and between a batch norm and the batch part of batch-channel norm. A weight of zero for all
    channels, as residual branches begin with, is always kept; in batch-channel norm the weight of the channel part
    becomes zero then, and that of the batch part one.

    Args:
        module: the norm that goes.
        known: what it is.
        target: one of `recipes.NORMS`.
        place: where it stands.
        options: what the new norm is like.
    """
    dimensions = known.dimensions or _dimensions(place)
    made = _build(module, known, target, dimensions, options)
    if isinstance(made, str):
        return made
    made = made.to(place.device, place.dtype).train(module.training)
    carried = _carry(
        module, known, made, target, statistics=not place.fresh and not (options.warmup and target == "micro-bcn")
    )
    if _parts(module)[1] is None and target not in ("bcn", "micro-bcn"):
        made.register_parameter("bias", None)
    _keep_trainable(module, made, place)
    if has_activation(module):
        if dimensions != 2:
            return f"its activation belongs to it, and its inputs have {dimensions} axes of positions"
        made = with_activation(made, module)
    groups = made.num_groups if isinstance(made, nn.GroupNorm) else getattr(made, "groups", None)
    return NewNorm(made, groups if groups is None else int(groups), carried)


def forget_estimates(norm: nn.Module) -> bool:
    """Begin the running estimates of a norm anew; whether it had any that were not new."""
    mean, variance = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    if "FrozenBatchNorm" in type(norm).__name__ or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return False
    if mean.device.type == "meta" or not (bool((mean != 0).any()) or bool((variance != 1).any())):
        return False
    with torch.no_grad():
        mean.zero_()
        variance.fill_(1)
        count = getattr(norm, "num_batches_tracked", None)
        if isinstance(count, Tensor):
            count.zero_()
    return True


def _dimensions(place: Place) -> int | None:
    return place.dimensions if place.axes is None else max(place.axes - 2, 1)


def _build(
    module: nn.Module, known: Norm, target: str, dimensions: int | None, options: NormOptions
) -> nn.Module | str:
    affine, eps = _parts(module)[0] is not None, float(getattr(module, "eps", 1e-5))
    groups = group_count(known.channels, options.groups)
    if target == "gn":
        return nn.GroupNorm(groups, known.channels, eps=eps, affine=affine)
    if dimensions is None:
        return "no pass reached it: how many axes its input has is unknown"
    kind = _BY_AXES[target][dimensions - 1]
    if target == "in":
        return kind(known.channels, eps=eps, affine=affine)
    momentum = getattr(module, "momentum", 0.1) if known.kind in ("batch", "sync-batch", "batch-channel") else 0.1
    if target in ("bn", "syncbn"):
        tracking = getattr(module, "track_running_stats", True) if known.kind in BATCH else True
        return kind(known.channels, eps=eps, momentum=momentum, affine=affine, track_running_stats=tracking)
    if target == "micro-bcn":
        more: dict[str, Any] = {"estimated": True, "rate": options.rate, "warmup": options.warmup}
    else:
        more = {"synchronized": known.kind == "sync-batch" or getattr(module, "synchronized", False)}
    return kind(known.channels, groups, eps=eps, momentum=momentum, affine=affine, **more)


def _carry(old: nn.Module, known: Norm, new: nn.Module, target: str, *, statistics: bool) -> str:
    """Copy what means the same into the new norm, and name it."""
    carried: list[str] = []
    to_channels = target in ("bcn", "micro-bcn")
    zero = starts_at_zero(old)
    with torch.no_grad():
        if (known.kind in BATCH or known.kind == "batch-channel") and _KINDS[target] in (*BATCH, "batch-channel"):
            part = " of the batch part" if to_channels or known.kind == "batch-channel" else ""
            carried += [f"affine{part}"] if _copy(old, new, ("weight", "bias")) else []
            if to_channels and known.kind == "batch-channel" and old.groups == new.groups:  # between its two forms
                carried += ["affine of the channel part"] if _copy(old, new, ("channel_weight", "channel_bias")) else []
            if statistics and _copy(old, new, ("running_mean", "running_var")):
                carried.append("running estimates")
                _copy(old, new, ("num_batches_tracked",))
        if zero:
            _set_zero(new)
            carried = [*(one for one in carried if not one.startswith("affine")), "weight of zero"]
    return ", ".join(carried)


def starts_at_zero(norm: nn.Module) -> bool:
    """Whether a norm gives zero whatever it takes, as the last one of a residual branch may begin."""
    weight, bias = _parts(norm)
    if getattr(norm, "channel_weight", None) is not None:
        weight, bias = norm.channel_weight, norm.channel_bias  # type: ignore[assignment]
    if weight is None or weight.device.type == "meta" or bool((weight != 0).any()):
        return False
    return bias is None or not bool((bias != 0).any())


def _set_zero(norm: nn.Module) -> None:
    last = "channel_" if getattr(norm, "channel_weight", None) is not None else ""
    if last:
        nn.init.ones_(norm.weight)  # type: ignore[arg-type]
        nn.init.zeros_(norm.bias)  # type: ignore[arg-type]
    nn.init.zeros_(getattr(norm, f"{last}weight"))
    nn.init.zeros_(getattr(norm, f"{last}bias"))


def _copy(old: nn.Module, new: nn.Module, names: tuple[str, ...]) -> bool:
    """Copy tensors of these names where both norms have them."""
    pairs = [(getattr(new, name, None), getattr(old, name, None)) for name in names]
    there = [(mine, theirs) for mine, theirs in pairs if isinstance(mine, Tensor) and isinstance(theirs, Tensor)]
    for mine, theirs in there:
        mine.copy_(theirs)
    return bool(there)


def _keep_trainable(old: nn.Module, new: nn.Module, place: Place) -> None:
    held = dict(old.named_parameters(recurse=False))
    for name, parameter in new.named_parameters(recurse=False):
        before = held.get(name.removeprefix("channel_"))
        parameter.requires_grad_(place.trainable if before is None else before.requires_grad)


def _parts(norm: nn.Module) -> tuple[Tensor | None, Tensor | None]:
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    return (weight if isinstance(weight, Tensor) else None), (bias if isinstance(bias, Tensor) else None)
