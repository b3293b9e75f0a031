"""The Jacobian of a network's outputs by its parameters, the obvious way: one backward pass a row."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


def jacobian(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """(examples * outputs, parameters), float64, of a copy in evaluation mode."""
    network = copy.deepcopy(model).double().eval()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rows = []
    for example in inputs.double() if inputs.is_floating_point() else inputs:
        for output in network(example[None]).flatten():
            found = torch.autograd.grad(output, parameters, retain_graph=True, allow_unused=True)
            parts = [
                torch.zeros_like(parameter) if gradient is None else gradient
                for parameter, gradient in zip(parameters, found, strict=True)
            ]
            rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


def nullity(model: nn.Module, inputs: torch.Tensor, *, tolerance: float = 1e-9) -> int:
    """Columns less singular values above a share of the largest."""
    rows = jacobian(model, inputs)
    values = torch.linalg.svdvals(rows)
    return rows.shape[1] - int((values > tolerance * values[0]).sum())
