"""Torch's generators seeded where a network draws from them, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable


def seed_generators(seed: int, devices: Iterable[torch.device]) -> None:
    """Seed the processor's generator and those of some GPUs.

    `torch.manual_seed` seeds those of all GPUs, now or when the first is used: generators of the user's own that a
    `fork_rng` of the network's devices does not put back.

    Args:
        seed: of all of them.
        devices: where the network is; what is no GPU counts for nothing.

    Example:
        >>> with torch.random.fork_rng(devices=[]):
        ...     seed_generators(0, [torch.device("cpu")])
        ...     round(torch.rand(1).item(), 4)
        0.4963
    """
    torch.default_generator.manual_seed(seed)
    for device in devices:
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
