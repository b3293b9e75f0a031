"""Small networks that are trained on one task from different first weights: ends of real paths."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.evaluation.batches import Batch

SMOOTH = {"gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "softplus": nn.Softplus}
EXAMPLES = 96


def perceptron(activation: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 16), activation(), nn.Linear(16, 12), activation(), nn.Linear(12, 4))


def convolutional(activation: Callable[[], nn.Module], pool: type[nn.Module] = nn.AvgPool2d) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        activation(),
        pool(2),
        nn.Conv2d(6, 8, 2),
        nn.GroupNorm(2, 8),
        activation(),
        nn.Flatten(),
        nn.Linear(8 * 4, 4),
    )


def batches(kind: str, *sizes: int) -> list[Batch]:
    """Inputs whose class hangs on products and thresholds of a few of their numbers."""
    generator = torch.Generator().manual_seed(3)
    count = sum(sizes) if sizes else EXAMPLES
    shape = (count, 5) if kind == "perceptron" else (count, 2, 8, 8)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    flat = inputs.flatten(1) if kind == "perceptron" else inputs.reshape(count, 4, 32).mean(2) * 6
    targets = (flat[:, 0] * flat[:, 1] > 0).long() + 2 * (flat[:, 2] > 0).long()
    parts = list(sizes) or [count]
    return list(zip(torch.split(inputs, parts), torch.split(targets, parts), strict=True))


@cache
def trained(kind: str, activation: str, seed: int, *, steps: int = 150) -> nn.Sequential:
    """A network in float64 after some full-batch steps of Adam; do not change it."""
    made: Callable[[], nn.Module] = {**SMOOTH, "relu": nn.ReLU}[activation]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = (perceptron if kind == "perceptron" else convolutional)(made).double()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    ((inputs, targets),) = batches(kind)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call] # torch's
        optimiser.step()
    return network.eval()


def state_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())
