"""A batch norm in evaluation absorbed by the convolution right before it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from weightatlas.nn.conversion.activated import has_activation, with_activation
from weightatlas.nn.conversion.convolution_kinds import CONVOLUTIONS, is_transposed
from weightatlas.nn.conversion.norm_replacement import BATCH

if TYPE_CHECKING:
    from torch.nn.modules.conv import _ConvNd

    from weightatlas.nn.conversion.norm_kinds import Norm
    from weightatlas.nn.conversion.pairs import Wiring

_SAME_PADDING: Final = "Conv2dSame"
"""timm's convolution that pads by the size of its input, and is otherwise a plain one."""

FROZEN_EPS: Final = 1e-5
"""Of the frozen batch norms of transformers' DETR networks, which have it within their forward pass only."""


def never_absorbed(norm: nn.Module, known: Norm) -> str:
    """Say why a norm is no fixed scale and shift of each channel, or give an empty text.

    Example:
        >>> from weightatlas.nn.conversion.norm_kinds import read_norm
        >>> norm = nn.BatchNorm2d(8)
        >>> never_absorbed(norm, read_norm(norm))
        'it is in training mode, where it is no fixed scale and shift'
        >>> never_absorbed(norm.eval(), read_norm(norm))
        ''
    """
    if known.left:
        return known.left
    if known.kind not in (*BATCH, "batch-channel"):
        return "it normalises each input by itself: no fixed scale and shift"
    if norm.training and known.kind != "frozen-batch":
        return "it is in training mode, where it is no fixed scale and shift"
    if getattr(norm, "running_mean", None) is None:
        return "it has no running estimates: it normalises by the batch"
    return ""


def cannot_absorb(convolution: nn.Module, name: str, norm: str, wiring: Wiring) -> str:
    """Say why a convolution cannot take in the norm behind it, or give an empty text.

    Args:
        convolution: its weights are plain by now.
        name: its path.
        norm: path of the norm.
        wiring: what goes where.
    """
    if wiring.evidence[name] != "seen" or wiring.stopped:
        why = wiring.stopped or "it was not called"
        return f"no pass showed what else takes its input ({why}): give example_inputs"
    if wiring.only.get(name) != norm:
        return "the convolution before it has other takers, or it takes from others too"
    if type(convolution) not in CONVOLUTIONS and type(convolution).__name__ != _SAME_PADDING:
        return f"before it stands a {type(convolution).__name__}, whose weights are not simply scaled"
    if "weight" not in dict(convolution.named_parameters(recurse=False)):
        return "the weights before it are made anew at each call"
    return ""


def absorb(convolution: _ConvNd, norm: nn.Module, known: Norm) -> nn.Module:
    r"""Make a batch norm in evaluation a part of the convolution before it, and give what stays behind it.

    With the estimates $\mu$, $\sigma^2$ and the affine part $\gamma$, $\beta$ of a unit,

    $$W' = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} W, \qquad
    b' = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}} (b - \mu) + \beta,$$

    in double precision, then rounded. Of batch-channel norm that is the batch part; its channel part stays as group
    norm, the affine part of a group repeated for its channels.

    Args:
        convolution: changed in place.
        norm: in evaluation; not changed.
        known: what it is.
    """
    with torch.no_grad():
        scale, shift = _scale_and_shift(norm)
        weight = convolution.weight
        axes = [1] * (weight.ndim - 2)
        if is_transposed(convolution):
            groups = convolution.groups
            apart = weight.double().view(groups, -1, *weight.shape[1:])
            scaled = (apart * scale.view(groups, 1, -1, *axes)).view(weight.shape)
        else:
            scaled = weight.double() * scale.view(-1, 1, *axes)
        bias = 0 if convolution.bias is None else convolution.bias.double()
        trained = weight.requires_grad
        convolution.bias = nn.Parameter((bias * scale + shift).to(weight.dtype), requires_grad=trained)
        convolution.weight = nn.Parameter(scaled.to(weight), requires_grad=trained)  # another layer may hold the old
    return _channel_part(norm) if known.kind == "batch-channel" else _what_follows(norm)


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    mean, variance = _double(norm, "running_mean"), _double(norm, "running_var")
    assert mean is not None  # noqa: S101 - a norm without estimates is not absorbed
    assert variance is not None  # noqa: S101
    scale = (variance + float(getattr(norm, "eps", FROZEN_EPS))).rsqrt()
    weight, bias = _double(norm, "weight"), _double(norm, "bias")
    scale = scale if weight is None else scale * weight
    return scale, (-mean * scale if bias is None else bias - mean * scale)


def _double(norm: nn.Module, name: str) -> Tensor | None:
    tensor = getattr(norm, name, None)
    return tensor.double() if isinstance(tensor, Tensor) else None


def _channel_part(norm: nn.Module) -> nn.Module:
    channels, groups = int(norm.channels), int(norm.groups)  # type: ignore[arg-type]
    weight = norm.channel_weight
    made = nn.GroupNorm(groups, channels, eps=float(norm.eps), affine=weight is not None)  # type: ignore[arg-type]
    likely = norm.running_mean
    made = made.to(likely.device, likely.dtype).train(norm.training)  # type: ignore[arg-type]
    if isinstance(weight, Tensor):
        for name in ("weight", "bias"):
            before = getattr(norm, f"channel_{name}")
            repeated = before.detach().repeat_interleave(channels // groups)
            setattr(made, name, nn.Parameter(repeated, requires_grad=before.requires_grad))
    return with_activation(made, norm) if has_activation(norm) else made


def _what_follows(norm: nn.Module) -> nn.Module:
    """An identity, or the dropout and the activation that belonged to the norm, under the names they had there."""
    if not has_activation(norm):
        return nn.Identity()
    return nn.Sequential(OrderedDict((name, part) for name, part in norm.named_children() if name in ("drop", "act")))
