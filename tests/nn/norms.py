"""What the tests of batch-channel norm share: norms with numbers of their own, and torch's two with the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from weightatlas.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm2d, BatchChannelNorm3d

CLASSES = {
    1: (BatchChannelNorm1d, nn.BatchNorm1d),
    2: (BatchChannelNorm2d, nn.BatchNorm2d),
    3: (BatchChannelNorm3d, nn.BatchNorm3d),
}
Norm = BatchChannelNorm1d | BatchChannelNorm2d | BatchChannelNorm3d

CHANNELS, GROUPS = 6, 3


def stirred(module: nn.Module, seed: int = 0) -> None:
    """Give every parameter and estimate a value of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point() and not name.endswith("rate"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def norm(dimensions: int = 2, *, channels: int = CHANNELS, groups: int = GROUPS, **options: Any) -> Norm:  # noqa: ANN401
    """A norm in double precision, unless told otherwise."""
    made: Norm = CLASSES[dimensions][0](channels, groups, **({"dtype": torch.float64} | options))  # type: ignore[assignment]
    stirred(made)
    return made


def torch_norms(norm: Norm, dimensions: int = 2) -> nn.Sequential:
    """Torch's batch norm and group norm with the same parameters and estimates."""
    batch = CLASSES[dimensions][1](norm.channels, momentum=norm.momentum, affine=norm.affine, eps=norm.eps)
    batch.to(norm.running_mean.dtype).load_state_dict({name: norm.state_dict()[name] for name in batch.state_dict()})
    group = nn.GroupNorm(norm.groups, norm.channels, affine=norm.affine, eps=norm.eps).to(norm.running_mean.dtype)
    if norm.channel_weight is not None and norm.channel_bias is not None:
        size = norm.channels // norm.groups
        with torch.no_grad():
            group.weight.copy_(norm.channel_weight.repeat_interleave(size))
            group.bias.copy_(norm.channel_bias.repeat_interleave(size))
    return nn.Sequential(batch, group).train(norm.training)


def values(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).mul(2).add(1).to(dtype)


def close(found: torch.Tensor, expected: torch.Tensor, name: str, *, tolerance: float = 1e-12) -> None:
    """Equal to a tolerance, relative and absolute; a failure says what it is of."""
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}")
