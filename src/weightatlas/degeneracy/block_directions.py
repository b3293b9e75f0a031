"""Blocks of units that fire together act linearly: each change of their basis, as directions of the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    from torch import nn

    from weightatlas.degeneracy.rectified import Consumer, RectifiedLayer

    Indices = npt.NDArray[np.int64] | Sequence[int]

Direction = dict[str, torch.Tensor]
"""From a parameter's name to the change of it, of its shape; a parameter that is not there stays as it is."""


def block_directions(
    parameters: Mapping[str, torch.Tensor], layer: RectifiedLayer, block: Indices, model: nn.Module
) -> Iterator[Direction]:
    r"""Give the directions that a block of synchronised units frees, one for each entry of A.

    Units S that are positive on the same data act there as one linear map, times the same number for each of them, so
    that the change \(y_S \to (1 + \varepsilon A) y_S\) of their inputs y is undone by
    \(W'_{:,S} \to W'_{:,S} (1 - \varepsilon A)\) in whatever takes their outputs. To first order:
    \(\delta W_S = A W_S\), \(\delta b_S = A b_S\), \(\delta W'_{:,S} = -W'_{:,S} A\), for each \(A = e_i e_j^\top\).
    With a norm between, \(y = D (W x + b - \mu) + \beta\) with \(D = \gamma / \sigma\): then
    \(\delta W_i = D_j W_j / D_i\), and the constants go into \(\beta\), or into b where there is none.
    i = j is the scaling of one unit, which is free on any data.

    Left out are what no parameter can bring about: units that lie in different groups of a convolution, or whose
    outputs part ways, or are taken each by itself (max pooling); a scale \(\gamma_i = 0\); a constant without a bias.

    Args:
        parameters: by the model's names; what is not among them is held.
        layer: as `rectified_layers` gives it.
        block: units, of which any two fire on the same data; elsewhere the directions are not free.
        model: for the statistics of its norms.

    Yields:
        For each such (i, j), the changes of the parameters, in the parameters' dtype.

    Example:
        >>> from torch import nn
        >>> from weightatlas.degeneracy.rectified import rectified_layers
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> layer, = rectified_layers(model, torch.zeros(1, 2))
        >>> [sorted(one) for one in block_directions(dict(model.named_parameters()), layer, [1], model)]
        [['0.bias', '0.weight', '2.weight']]
    """
    mixing = _Mixing.of(parameters, layer, model)
    if mixing is None:
        return
    for unit, other in movable_pairs(parameters, layer, block, model):
        yield mixing.direction(unit, other)


def movable_pairs(
    parameters: Mapping[str, torch.Tensor], layer: RectifiedLayer, block: Indices, model: nn.Module
) -> list[tuple[int, int]]:
    """The pairs (i, j) of units of a block for which `block_directions` gives a direction, in its order."""
    mixing = _Mixing.of(parameters, layer, model)
    if mixing is None:
        return []
    units = [int(one) for one in block]
    return [(one, other) for one in units for other in units if mixing.reaches(one, other)]


@dataclass(frozen=True, slots=True, eq=False)
class _Mixing:
    """A layer's numbers: its weights, what the norm does to each unit, y = scale * (W x) + constant."""

    layer: RectifiedLayer
    parameters: Mapping[str, torch.Tensor]
    scale: torch.Tensor
    constant: torch.Tensor

    @classmethod
    def of(cls, parameters: Mapping[str, torch.Tensor], layer: RectifiedLayer, model: nn.Module) -> _Mixing | None:
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
        if unit != other and self.scale[unit] == 0 != self.scale[other]:
            return False
        return self._shift(unit) is not None or float(self.constant[other]) == 0

    def direction(self, unit: int, other: int) -> Direction:
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
            found[consumer.weight] = _undone(self.parameters[consumer.weight].detach(), consumer, unit, other)
        return found

    def _shift(self, unit: int) -> tuple[str, float] | None:
        """The parameter that moves a unit's constant, and by how much it does."""
        norm = self.layer.norm
        if norm is not None and norm.bias is not None and norm.bias in self.parameters:
            return norm.bias, 1.0
        if self.layer.bias is not None and self.layer.bias in self.parameters and self.scale[unit] != 0:
            return self.layer.bias, float(self.scale[unit])
        return None


def _undone(weight: torch.Tensor, consumer: Consumer, unit: int, other: int) -> torch.Tensor:
    """The change of a consumer's columns, -W' A."""
    change = torch.zeros_like(weight)
    into, out_of = (_columns(consumer, one) for one in (other, unit))
    per_group = len(consumer.units) // consumer.groups
    rows = weight.shape[1 - consumer.axis] // consumer.groups
    for target, source in zip(into, out_of, strict=True):
        first = int(target) // per_group * rows
        where = weight.narrow(1 - consumer.axis, first, rows).select(consumer.axis, int(source) % per_group)
        change.narrow(1 - consumer.axis, first, rows).select(consumer.axis, int(target) % per_group).copy_(-where)
    return change


def _columns(consumer: Consumer, unit: int) -> npt.NDArray[np.int64]:
    """The columns of a unit, in the order of their places."""
    own = np.flatnonzero(consumer.units == unit)
    return own[np.argsort(consumer.places[own], kind="stable")]
