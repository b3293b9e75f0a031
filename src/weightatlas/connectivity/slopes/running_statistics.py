"""Batch and instance norm in evaluation mode as functions of their running statistics too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class DifferentiableStatistics(TorchFunctionMode):
    """Have norms pass derivatives to their running mean and variance while this is open.

    Torch's own refuse ("not differentiable with respect to argument 'running_mean'"). Their definition is written out
    instead, where statistics ask for a derivative; everything else runs as it is.

    Example:
        >>> mean = torch.zeros(2, requires_grad=True)
        >>> with DifferentiableStatistics():
        ...     normalised = functional.batch_norm(torch.ones(1, 2), mean, torch.ones(2), eps=0.0)
        >>> torch.autograd.grad(normalised.sum(), mean)[0].tolist()
        [-1.0, -1.0]
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - of every function of torch
        """Run a function of torch, or what stands for it."""
        del types
        given = dict(kwargs or {})
        if func is functional.batch_norm or func is functional.instance_norm:
            flag = ("training", False) if func is functional.batch_norm else ("use_input_stats", True)
            named = dict(zip(("input", "running_mean", "running_var"), args, strict=False)) | given
            statistics = [named.get(name) for name in ("running_mean", "running_var")]
            if not named.get(*flag) and any(part is not None and part.requires_grad for part in statistics):
                return _normalised(named)
        return func(*args, **given)


def _normalised(named: Mapping[str, Any]) -> torch.Tensor:
    """(x - mean) / sqrt(variance + eps) weight + bias, channel by channel."""
    values: torch.Tensor = named["input"]
    shape = (1, -1, *[1] * (values.ndim - 2))
    mean, variance = named["running_mean"], named["running_var"]
    scale = torch.rsqrt(variance + named.get("eps", 1e-5))
    if named.get("weight") is not None:
        scale = scale * named["weight"]
    answer: torch.Tensor = (values - mean.reshape(shape)) * scale.reshape(shape)
    if named.get("bias") is not None:
        answer = answer + named["bias"].reshape(shape)
    return answer
