"""Expanded weights the slow way: one gradient a unit of a network that is linear, and kernels composed by hand."""

from __future__ import annotations

import torch
from torch import nn


def brute_force(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(units, channels, height, width): gradients of each centre unit of a network without activations."""
    origin = torch.zeros_like(images).requires_grad_()
    answer = network(origin)
    row, column = (length // 2 for length in answer.shape[2:])
    found = [
        torch.autograd.grad(answer[0, unit, row, column], origin, retain_graph=True)[0][0]
        for unit in range(answer.shape[1])
    ]
    return torch.stack(found)


def composed_kernels(
    first: torch.Tensor, second: torch.Tensor, *, stride: int, dilations: tuple[int, int]
) -> torch.Tensor:
    """The kernel of two convolutions after each other: tap (p, q) of the second lies p * dilation * stride on."""
    step = dilations[1] * stride
    inner = (first.shape[2] - 1) * dilations[0] + 1
    side = (second.shape[2] - 1) * step + inner
    whole = torch.zeros(second.shape[0], first.shape[1], side, side)
    for p in range(second.shape[2]):
        for q in range(second.shape[3]):
            for y in range(first.shape[2]):
                for x in range(first.shape[3]):
                    place = p * step + y * dilations[0], q * step + x * dilations[0]
                    whole[:, :, place[0], place[1]] += second[:, :, p, q] @ first[:, :, y, x]
    return whole.detach()
