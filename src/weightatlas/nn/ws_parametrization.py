"""Weight standardisation of any module's weights, as a parametrisation."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from weightatlas.nn.standardization import Standardization, find_standardization, standardize

torch.fx.wrap("standardize")  # a traced network calls it as one function: torchvision's feature extractors trace

Module = TypeVar("Module", bound=nn.Module)


def standardized_parametrization(
    module: Module,
    name: str = "weight",
    *,
    how: Standardization | str = "timm",
    gain: bool = False,
    gamma: float = 1.0,
) -> Module:
    r"""Standardise a weight of any module, each time that it is read.

    The module is changed: `module.weight` is `standardize` of what is learned, which
    `module.parametrizations.weight.original` holds. `torch.nn.utils.parametrize.remove_parametrizations(module, name)`
    makes the standardised weight the module's own again.

    Units stand on axis 0 of the weight, as in a linear layer, an embedding or a convolution; on axis 1 in a transposed
    convolution. For convolutions, `WSConv2d` and its kin compute the same and keep their state dicts as they are.

    Args:
        module: any module; one that has parametrisations already gets another, behind them.
        name: of the parameter; at least two axes.
        how: one of `STANDARDIZATIONS`, by name, or one's own.
        gain: the scaled variant: a factor is learned for each unit, beginning at 1, in front of gamma / sqrt(I).
        gamma: of the scaled variant.

    Returns:
        The module given.

    Raises:
        ValueError: the module has no parameter of that name, it has no units that could be standardised, no
            standardisation has that name, or gamma is given without a gain.

    **Source:** as `WSConv2d`; the mechanism is PyTorch's.

    Example:
        >>> layer = standardized_parametrization(nn.Linear(100, 3))
        >>> torch.allclose(layer.weight.norm(dim=1), torch.tensor(10.0), atol=1e-2)
        True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, torch.Tensor) or not (
        name in module._parameters or parametrize.is_parametrized(module, name)  # noqa: SLF001 - not a plain tensor
    ):
        message = f"{type(module).__name__} has no parameter {name!r}"
        raise ValueError(message)
    transposed = isinstance(module, _ConvTransposeNd) and name == "weight"
    standardized = Standardized(
        weight,
        how=how,
        gain=gain,
        gamma=gamma,
        unit_axis=int(transposed),
        groups=module.groups if isinstance(module, _ConvTransposeNd) and transposed else 1,
    )
    parametrize.register_parametrization(module, name, standardized)
    return module


class Standardized(nn.Module):
    """Standardise a tensor of weights: what `standardized_parametrization` registers.

    Args:
        weight: that it is for; its shape, dtype and device count.
        how: as in `standardized_parametrization`.
        gain: as there.
        gamma: as there.
        unit_axis: as in `standardize`.
        groups: as in `standardize`.

    Shape:
        that of `weight`, to the same.

    Raises:
        ValueError: as in `standardized_parametrization`.
    """

    gain: nn.Parameter | None

    def __init__(
        self,
        weight: torch.Tensor,
        *,
        how: Standardization | str = "timm",
        gain: bool = False,
        gamma: float = 1.0,
        unit_axis: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        if gamma != 1 and not gain:
            message = f"gamma is a factor of the scaled variant: gamma={gamma:g} needs gain=True"
            raise ValueError(message)
        standardize(weight.detach(), how=how, unit_axis=unit_axis, groups=groups)  # refuse now, not in training
        self.how = find_standardization(how)
        self.unit_axis = unit_axis
        self.groups = groups
        units = weight.shape[unit_axis] * (groups if unit_axis else 1)
        self.scale = gamma * (weight.numel() // units) ** -0.5
        self.register_parameter("gain", nn.Parameter(weight.new_ones(units)) if gain else None)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Standardise."""
        factor = None if self.gain is None else self.gain * self.scale
        return standardize(weight, how=self.how, gain=factor, unit_axis=self.unit_axis, groups=self.groups)

    def extra_repr(self) -> str:
        """Say how."""
        return f"how={self.how}, gain={self.gain is not None}, unit_axis={self.unit_axis}, groups={self.groups}"
