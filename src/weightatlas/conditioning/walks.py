"""How the loss and its gradient change on a straight walk from a network's weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64

from weightatlas.evaluation.mean_loss import MeanLoss, wide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What is found at each step of a walk; infinite where the loss or its gradient is not finite.

    Attributes:
        lengths: |x_s - x_0|, as the parameters' own type can hold it.
        loss_change: L(x_s) - L(x_0).
        gradient_distance: |grad L(x_s) - grad L(x_0)|.
    """

    lengths: Float64[Array, " steps"]
    loss_change: Float64[Array, " steps"]
    gradient_distance: Float64[Array, " steps"]

    @property
    def loss_lipschitz(self) -> float:
        """The largest |L(x_s) - L(x_0)| / |x_s - x_0|."""
        return float((np.abs(self.loss_change) / self.lengths).max())

    @property
    def gradient_lipschitz(self) -> float:
        """The largest |grad L(x_s) - grad L(x_0)| / |x_s - x_0|."""
        return float((self.gradient_distance / self.lengths).max())


def walk(
    mean_loss: MeanLoss,
    start: tuple[float, Mapping[str, torch.Tensor]],
    direction: Mapping[str, torch.Tensor],
    lengths: Iterable[float],
) -> Walk:
    """Walk from the network's parameters in a direction.

    Args:
        mean_loss: what is walked on.
        start: the loss and its gradient there.
        direction: of any length above 0; by the parameters' names.
        lengths: of the steps, from the start, above 0.

    Raises:
        ValueError: a step is too short to move the parameters in their own type.
    """
    loss, gradient = start
    unit = 1 / norm(direction)
    found: list[tuple[float, float, float]] = []
    for length in lengths:
        at = {
            name: (tensor.to(wide(tensor)) + length * unit * direction[name]).to(tensor.dtype)
            for name, tensor in mean_loss.parameters.items()
        }
        moved = difference(at, mean_loss.parameters)
        if not moved:
            message = f"a step of {length:.3g} moves no parameter in its own type; walk further"
            raise ValueError(message)
        there, slope = mean_loss.gradient(at)
        found.append((moved, _finite(there - loss), _finite(difference(slope, gradient))))
    return Walk(*np.array(found, dtype=np.float64).reshape(-1, 3).T)


def random_directions(mean_loss: MeanLoss, draws: int, *, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Isotropic directions in the space of all parameters, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield {
            name: torch.randn(tensor.shape, generator=generator).to(tensor.device, wide(tensor))
            for name, tensor in mean_loss.parameters.items()
        }


def norm(tensors: Mapping[str, torch.Tensor]) -> float:
    """Euclidean length of tensors taken together."""
    return math.sqrt(sum(float(tensor.to(wide(tensor)).square().sum()) for tensor in tensors.values()))


def difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """Euclidean distance of tensors of the same names."""
    return norm({name: tensor.to(wide(tensor)) - other[name].to(wide(tensor)) for name, tensor in one.items()})


def _finite(value: float) -> float:
    """A figure, or infinity where it is none."""
    return value if math.isfinite(value) else math.inf
