"""What may be added to what: the numbers of a layer's units, and the changes of parameters that mix or scale them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from torch import nn

    from weightatlas.degeneracy.rectified import RectifiedLayer


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """A layer's numbers: its weights, what the norm does to each unit, y = scale * (W x) + constant."""

    layer: RectifiedLayer
    parameters: Mapping[str, torch.Tensor]
    scale: torch.Tensor
    constant: torch.Tensor

    @classmethod
    def of(cls, parameters: Mapping[str, torch.Tensor], layer: RectifiedLayer, model: nn.Module) -> Mixing | None:
        """Read a layer; None where it was skipped, or where its weights or those of a consumer are held."""
        if layer.skipped is not None or layer.weight not in parameters:
            return None
        if any(one.weight not in parameters for one in layer.consumers):
            return None
        known = {**dict(model.named_parameters()), **dict(model.named_buffers()), **parameters}
        weight = parameters[layer.weight].detach()
        scale, constant = torch.ones(layer.units).to(weight), torch.zeros(layer.units).to(weight)
        if layer.bias is not None:
            constant = known[layer.bias].detach().to(weight)
        norm = layer.norm
        if norm is not None:
            scale = (known[norm.variance].detach().to(weight) + norm.epsilon).rsqrt()
            if norm.weight is not None:
                scale = scale * known[norm.weight].detach().to(weight)
            constant = scale * (constant - known[norm.mean].detach().to(weight))
            if norm.bias is not None:
                constant = constant + known[norm.bias].detach().to(weight)
        return cls(layer, parameters, scale, constant)

    def reaches(self, unit: int, other: int) -> bool:
        """Whether some change of the parameters adds to one unit's input what the other one's is."""
        if self.layer.classes[unit] != self.layer.classes[other]:
            return False
        if self.scale[unit] == 0 and self.scale[other] != 0 and unit != other:
            return False
        return self._shift(unit) is not None or float(self.constant[other]) == 0

    def direction(self, unit: int, other: int) -> dict[str, torch.Tensor]:
        """The direction of A = e_unit e_otherᵀ."""
        layer = self.layer
        ratio = self.scale[other] / self.scale[unit] if self.scale[unit] != 0 else torch.tensor(1.0)
        weight = self.parameters[layer.weight].detach()
        change = torch.zeros_like(weight)
        change.select(layer.axis, unit).copy_(weight.select(layer.axis, other) * ratio.to(weight))
        found = {layer.weight: change}
        shift = self._shift(unit)
        if shift is not None:
            name, size = shift
            found[name] = torch.zeros_like(self.parameters[name])
            found[name][unit] = self.constant[other] / size
        for consumer in layer.consumers:
            found[consumer.weight] = consumer.undone(self.parameters[consumer.weight].detach(), unit, other)
        return found

    def rescaled(self, factors: npt.NDArray[np.float64]) -> dict[str, torch.Tensor]:
        """All that changes where each unit is scaled by a factor above 0, (units,), and its readers by the inverse."""
        layer = self.layer
        reached = np.array([self.reaches(unit, unit) for unit in range(layer.units)], dtype=bool)
        own = np.where(reached, factors, 1.0)
        weight = self.parameters[layer.weight].detach()
        column = torch.from_numpy(own).to(weight)
        found = {
            layer.weight: weight * column.reshape([-1 if axis == layer.axis else 1 for axis in range(weight.ndim)])
        }
        for unit in np.flatnonzero(reached):
            shift = self._shift(int(unit))
            if shift is not None:
                name, size = shift
                found.setdefault(name, self.parameters[name].detach().clone())
                found[name][unit] += (own[unit] - 1) * self.constant[unit] / size
        for consumer in layer.consumers:
            found[consumer.weight] = consumer.rescaled(self.parameters[consumer.weight].detach(), own)
        return found

    def _shift(self, unit: int) -> tuple[str, float] | None:
        """The parameter that moves a unit's constant, and by how much it does."""
        norm = self.layer.norm
        if norm is not None and norm.bias is not None and norm.bias in self.parameters:
            return norm.bias, 1.0
        if self.layer.bias is not None and self.layer.bias in self.parameters and self.scale[unit] != 0:
            return self.layer.bias, float(self.scale[unit])
        return None
