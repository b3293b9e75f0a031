"""A small network with three classes and its data, for surveys and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.evaluation.batches import Batch

EXAMPLES = 96


class Small(nn.Module):
    """5-6-5-3 with ReLU; of its five inputs on `batches` only four are independent."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.second(self.first(inputs).relu()).relu())
        return answer


def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(EXAMPLES, 5, generator=generator)
    inputs[:, 4] = 2 * inputs[:, 0]  # exactly
    targets = (inputs[:, 0] > 0).long() + (inputs[:, 2] > 0).long()
    return [(inputs[start : start + 32], targets[start : start + 32]) for start in range(0, EXAMPLES, 32)]


def not_finite() -> list[Batch]:
    return [(inputs / 0 * 0, targets) for inputs, targets in batches()]


def images() -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    return [(torch.randn(4, 1, 5, 5, generator=generator), torch.zeros(4, dtype=torch.int64))]


def trained(seed: int = 0, steps: int = 60) -> Small:
    network = Small(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(steps):
        for inputs, targets in batches():
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call] # torch's
            optimiser.step()
    return network.eval()


def saved(network: nn.Module, path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return str(path)
