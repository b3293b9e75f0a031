"""Whether outputs stay as they are along directions: the derivative along them, over data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.evaluation.batches import Batch

STEPS: Final = 3
"""Of the power iteration: what it finds of the largest singular value is a lower bound, within a few percent."""

ROWS: Final = 256
"""Examples that are followed at a time."""


def changes(network: ParameterMap, batches: Iterable[Batch], directions: torch.Tensor) -> torch.Tensor:
    """|J v| of each direction, (directions,), with v as rows over all parameters.

    Args:
        network: whose Jacobian J is.
        batches: the data.
        directions: (directions, parameters).
    """
    total = torch.zeros(len(directions), dtype=torch.float64, device=network.device)
    named = [network.named(direction) for direction in directions]
    for inputs, _ in batches:
        for part in torch.split(inputs, ROWS):
            total += network.along(part, named).double().square().sum((1, 2))
    return total.sqrt()


def largest_singular_value(network: ParameterMap, batches: Iterable[Batch], *, seed: int = 0) -> float:
    """A lower bound of the Jacobian's largest singular value, close to it: by power iteration from a random direction.

    Args:
        network: whose Jacobian it is.
        batches: the data, several times.
        seed: of the direction.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(network.size, generator=generator, dtype=torch.float64).to(network.device, network.dtype)
    length = 0.0
    for _ in range(STEPS):
        direction = direction / direction.norm()
        back, square = torch.zeros_like(direction), 0.0
        for inputs, _ in batches:
            for part in torch.split(inputs, ROWS):
                along = network.along(part, [network.named(direction)])
                square += float(along.double().square().sum())
                back += network.rows(part, along[None])[0]
        length = max(length, square**0.5)
        if not back.norm() > 0:
            break
        direction = back
    return length
