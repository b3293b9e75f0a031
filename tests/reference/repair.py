"""REPAIR the published way: a batch norm behind every convolution, which is then fused back into it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Mapping


@torch.no_grad()
def output_moments(layers: nn.Sequential, inputs: torch.Tensor) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Mean and deviation of every channel that a convolution gives."""
    found = {}
    values = inputs
    for place, layer in enumerate(layers):
        values = layer(values)
        if isinstance(layer, nn.Conv2d):
            found[place] = values.mean((0, 2, 3)), values.var((0, 2, 3), correction=0).sqrt()
    return found


@torch.no_grad()
def repaired(
    layers: nn.Sequential, goals: Mapping[int, tuple[torch.Tensor, torch.Tensor]], inputs: torch.Tensor
) -> nn.Sequential:
    """A copy whose convolutions give what the goals say, estimated on one batch."""
    wrapped = copy.deepcopy(layers)
    pairs: dict[int, tuple[nn.Conv2d, nn.BatchNorm2d]] = {}
    counts: dict[int, int] = {}
    values = inputs
    for place, layer in enumerate(layers):
        values = layer(values)
        counts[place] = values.numel() // values.shape[1]
    for place, (mean, deviation) in goals.items():
        convolution = wrapped[place]
        assert isinstance(convolution, nn.Conv2d)
        norm = nn.BatchNorm2d(convolution.out_channels, eps=1e-12, momentum=None).to(mean)
        norm.weight.copy_(deviation)
        norm.bias.copy_(mean)
        pairs[place] = convolution, norm
        wrapped[place] = nn.Sequential(convolution, norm.train())
    wrapped(inputs)
    for place, (convolution, norm) in pairs.items():
        assert norm.running_var is not None
        norm.running_var.mul_(
            (counts[place] - 1) / counts[place]
        )  # torch keeps the unbiased one, and normalised by the other
        wrapped[place] = fuse_conv_bn_eval(convolution.eval(), norm.eval())
    return wrapped
