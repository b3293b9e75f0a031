"""The layers that read units: which of their columns belong to which unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from weightatlas.degeneracy.wiring.endings import Reading

    Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Consumer:
    """A layer that reads the units of another one.

    Attributes:
        layer: its module.
        weight: the name of its weight, (outputs, inputs, ...) where `axis` is 1.
        units: int64 (inputs,), the unit that each of its inputs is; -1 is none of that layer's. A unit owns
            several where a map is flattened.
        places: int64 (inputs,): inputs of different units at the same place belong together.
        axis: of the weight, along which its inputs lie: 1, or 0 where the weight is multiplied from the right.
        groups: of a convolution: the weight holds the inputs of one group.
    """

    layer: str
    weight: str
    units: Integers
    places: Integers
    axis: int = 1
    groups: int = 1

    @property
    def spread(self) -> int:
        """How many of the inputs a unit owns, the most of any."""
        own = self.units[self.units >= 0]
        return int(np.bincount(own).max()) if len(own) else 0

    def columns_of(self, unit: int) -> Integers:
        """The inputs that a unit owns, in the order of their places."""
        own = np.flatnonzero(self.units == unit)
        return own[np.argsort(self.places[own], kind="stable")]

    def undone(self, weight: torch.Tensor, unit: int, other: int) -> torch.Tensor:
        """The change of the weight that takes back what adding one unit's outputs to another's does.

        That is -W A, where A = e_unit e_otherᵀ adds the other one's to the unit's.
        """
        change = torch.zeros_like(weight)
        size = len(self.units) // self.groups
        rows = weight.shape[1 - self.axis] // self.groups
        for target, source in zip(self.columns_of(other), self.columns_of(unit), strict=True):
            first = int(target) // size * rows
            where = weight.narrow(1 - self.axis, first, rows).select(self.axis, int(source) % size)
            change.narrow(1 - self.axis, first, rows).select(self.axis, int(target) % size).copy_(-where)
        return change

    def rescaled(self, weight: torch.Tensor, factors: npt.NDArray[np.float64]) -> torch.Tensor:
        """The weight with the columns of each unit divided by its factor, (units,)."""
        own = np.where(self.units >= 0, 1 / factors[self.units], 1.0)
        divisors = torch.from_numpy(own).to(weight).reshape(self.groups, -1)
        if self.axis == 0:
            return weight * divisors.reshape(-1, *[1] * (weight.ndim - 1))
        blocks = weight.reshape(self.groups, -1, *weight.shape[1:])
        return (blocks * divisors[:, None].reshape(self.groups, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)


def consumers_of(readings: Iterable[Reading]) -> tuple[Consumer, ...]:
    """Each reader once, however often it is called."""
    found: dict[str, Consumer] = {}
    for one in readings:
        product = one.product
        weight = str(product.weight)
        units, places = one.units.numpy().astype(np.int64), one.places.numpy().astype(np.int64)
        found.setdefault(weight, Consumer(one.layer, weight, units, places, 1 - product.axis, product.groups))
    return tuple(found.values())
