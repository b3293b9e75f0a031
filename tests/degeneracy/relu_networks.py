"""Small bias-free networks of ReLUs, generic ones and ones with something planted, in float64."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

WIDTHS = (6, 8, 8, 3)
PARAMETERS = 136
SCALINGS = 16
"""One for each hidden unit."""

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def relu_network(seed: int, widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for width, units in pairwise(widths):
        layer = nn.Linear(width, units, bias=False, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(units, width, generator=generator, dtype=torch.float64) / width**0.5)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def weights(network: nn.Sequential) -> list[torch.Tensor]:
    return [parameter.data for parameter in network.parameters()]


def inputs_of(seed: int, examples: int, *, width: int = WIDTHS[0], rank: int | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    inputs = torch.randn(examples, rank or width, generator=generator, dtype=torch.float64)
    if rank is None:
        return inputs
    return inputs @ torch.randn(rank, width, generator=generator, dtype=torch.float64)


def batches(inputs: torch.Tensor, size: int = 400) -> Batches:
    return [(part, torch.zeros(len(part))) for part in torch.split(inputs, size)]


def least_live(network: nn.Sequential, inputs: torch.Tensor) -> float:
    """The smallest share of the data on which a hidden unit fires and reaches an output."""
    first, second, _ = weights(network)
    hidden = inputs @ first.T
    later = hidden.relu() @ second.T
    own = (later > 0).double()
    reached = torch.einsum("ni,ij->nj", own, second.abs()) > 0
    return float(min(own.mean(0).min(), ((hidden > 0) & reached).double().mean(0).min()))


def live_network(rank: int | None = None, *, seed: int = 0, least: float = 0.2) -> tuple[nn.Sequential, torch.Tensor]:
    """A network whose units are all live on a good share of 1,000 examples, and these."""
    while True:
        network, inputs = relu_network(seed), inputs_of(seed, 1000, rank=rank)
        if least_live(network, inputs) >= least:
            return network, inputs
        seed += 1
