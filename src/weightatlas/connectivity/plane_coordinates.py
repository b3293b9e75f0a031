"""Orthonormal coordinates of the plane through three states of one network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64

from weightatlas.evaluation.mean_loss import wide
from weightatlas.evaluation.states import fit_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

Array = np.ndarray

ON_A_LINE: Final = 1e-6
"""Distance of the third point from the line of the others, over its distance from the origin, that is taken for 0."""


class PlaneCoordinates:
    """Where states lie on the plane through three of them, and which state lies where.

    Attributes:
        points: coordinates of the three, (0, 0), (d, 0) and (x, y) with y above 0.

    Example:
        >>> import torch
        >>> states = ({"weight": torch.tensor([row])} for row in ([0.0, 0.0], [0.0, 2.0], [3.0, 1.0]))
        >>> found = PlaneCoordinates(torch.nn.Linear(2, 1, bias=False), *states)
        >>> found.points.tolist()
        [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]
        >>> found.state(2.0, 3.0)["weight"].tolist()
        [[3.0, 2.0]]
    """

    def __init__(
        self,
        model: nn.Module,
        a: Mapping[str, torch.Tensor],
        b: Mapping[str, torch.Tensor],
        c: Mapping[str, torch.Tensor],
    ) -> None:
        """Span the plane.

        Raises:
            ValueError: the three lie on one line.
            SourceError: a state does not fit the model.
        """
        self._model = model
        self._origin = fit_state(model, a, name="the first state")
        self._measured = tuple(name for name, one in model.named_parameters() if one.is_floating_point())
        self._sides = tuple(
            {name: tensor - self._origin[name] for name, tensor in fitted.items() if tensor.is_floating_point()}
            for fitted in (fit_state(model, b, name="the second state"), fit_state(model, c, name="the third state"))
        )
        self._scratch = {name: tensor.clone() for name, tensor in self._origin.items()}
        first, second = self._sides
        length = math.sqrt(self._product(first, first))
        along = self._product(first, second) / length if length else 0.0
        reach = self._product(second, second)
        height = math.sqrt(max(0.0, reach - along**2))
        if not length or height <= ON_A_LINE * math.sqrt(reach):
            message = "the three networks lie on one line, or two of them are the same; a plane needs three apart"
            raise ValueError(message)
        self.points: Float64[Array, "3 2"] = np.array([[0.0, 0.0], [length, 0.0], [along, height]])

    def state(self, x: float, y: float) -> dict[str, torch.Tensor]:
        """The state at a point, in tensors that the next call overwrites."""
        (length, _), (along, height) = self.points[1:]
        t = y / height
        s = (x - t * along) / length
        for name, tensor in self._scratch.items():
            if name in self._sides[0]:
                tensor.copy_(self._origin[name])
                tensor.add_(self._sides[0][name], alpha=s).add_(self._sides[1][name], alpha=t)
                if name.endswith("running_var"):
                    tensor.clamp_(min=0)
            else:
                tensor.copy_(self._origin[name])
        return dict(self._scratch)

    def project(self, state: Mapping[str, torch.Tensor]) -> tuple[float, float, float]:
        """Coordinates of the point of the plane that is nearest to a state, and the distance from there.

        Raises:
            SourceError: the state does not fit the model.
        """
        fitted = fit_state(self._model, state)
        offset = {name: fitted[name] - self._origin[name] for name in self._measured}
        (length, _), (along, height) = self.points[1:]
        first, second = (self._product(offset, side) for side in self._sides)
        x = first / length
        y = (second - along * x) / height
        return x, y, math.sqrt(max(0.0, self._product(offset, offset) - x**2 - y**2))

    def _product(self, one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
        """The scalar product over parameters."""
        return sum(
            float((one[name].to(wide(one[name])) * other[name].to(wide(one[name]))).sum()) for name in self._measured
        )
