"""Which unit of a layer each number of a tensor belongs to, and at which place of that unit's map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.degeneracy.wiring.endings import Summed

OTHER = -1
"""The unit of numbers that are none of the layer's."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The units of one layer in one tensor.

    Attributes:
        unit: int32, of the tensor's shape: which of the layer's units made each number; -1 is none.
        place: int32, of the same shape: numbers of different units at the same place belong together; mixing units
            mixes those.
        mixes: whether what was done since commutes with mixing units; else only with scaling them.
        is_direct: whether each number still holds the layer's bias, once: they were moved, or averaged.
        summed: how attention has summed over places since.
    """

    unit: torch.Tensor
    place: torch.Tensor
    mixes: bool = True
    is_direct: bool = False
    summed: Summed = "no"

    @property
    def axis(self) -> int | None:
        """The axis along which whole units lie in order, everything else being places; None where there is none."""
        shape = self.unit.shape
        count = int(self.unit.max()) + 1 if self.unit.numel() else 0
        for axis, length in enumerate(shape):
            line = along_axis(torch.arange(length, dtype=self.unit.dtype), axis, len(shape))
            if length == count and bool((self.unit == line).all()):
                first = self.place.narrow(axis, 0, 1)
                return axis if bool((self.place == first).all()) else None
        return None

    def columns(self, axis: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The unit of each entry along an axis, and numbers of places, both (length,).

        None where they are not the same wherever else one looks.
        """
        length = self.unit.shape[axis]
        unit, place = (one.movedim(axis, -1).reshape(-1, length) for one in (self.unit, self.place))
        if not unit.numel() or bool((unit != unit[:1]).any()):
            return None
        _, group = torch.unique(place[0], return_inverse=True)
        first = torch.full((int(group.max()) + 1,), length, dtype=torch.int64)
        first = first.scatter_reduce(0, group, torch.arange(length), "amin")
        if bool((place != place[:, first[group]]).any()):
            return None
        return unit[0], first[group]

    def moved(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Units:
        """The units after a function that moves numbers without changing them."""
        return replace(self, unit=function(self.unit), place=function(self.place))


def whole_units(
    shape: torch.Size | tuple[int, ...], axis: int, *, mixes: bool = True, is_direct: bool = False
) -> Units:
    """Units that lie in order along an axis, at the same places each."""
    axis %= len(shape)
    line = along_axis(torch.arange(shape[axis], dtype=torch.int32), axis, len(shape))
    return replace(placed(line, shape, (axis,), mixes=mixes), is_direct=is_direct)


def placed(
    unit: torch.Tensor, shape: torch.Size | tuple[int, ...], within: tuple[int, ...], *, mixes: bool = True
) -> Units:
    """Units, broadcast to a shape, whose places are counted anew: one for each entry of all axes but those `within`."""
    lengths = [1 if axis in within else length for axis, length in enumerate(shape)]
    place = torch.arange(torch.Size(lengths).numel(), dtype=torch.int32).reshape(lengths)
    return Units(unit.expand(shape), place.expand(shape), mixes)


def along_axis(line: torch.Tensor, axis: int, ndim: int) -> torch.Tensor:
    """A line of numbers as a tensor that broadcasts along one axis."""
    return line.reshape([-1 if one == axis else 1 for one in range(ndim)])
