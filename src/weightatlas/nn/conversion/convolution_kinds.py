"""Which module is a convolution, and how its weights can be standardised."""

from __future__ import annotations

import math
from typing import Final

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

CONVOLUTIONS: Final = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)

_STANDARDISED: Final = frozenset(
    {"StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame", "WeightStandardizedConv2d"}
)
"""Classes of timm and transformers that standardise their weights already."""


def is_convolution(module: nn.Module) -> bool:
    """Whether a module is a convolution of torch, transposed or not, or derives from one.

    Example:
        >>> is_convolution(nn.ConvTranspose2d(3, 8, 2)), is_convolution(nn.Linear(3, 8))
        (True, False)
    """
    return isinstance(module, _ConvNd)


def is_transposed(module: nn.Module) -> bool:
    """Whether a convolution is a transposed one."""
    return isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)


def is_depthwise(module: _ConvNd) -> bool:
    """Whether each unit of a convolution reads one channel of several.

    Example:
        >>> is_depthwise(nn.Conv2d(8, 16, 3, groups=8)), is_depthwise(nn.Conv2d(1, 8, 3))
        (True, False)
    """
    return module.groups > 1 and module.groups == module.in_channels


def fan_in(module: _ConvNd) -> int:
    """Weights of one unit: channels it reads by elements of the kernel."""
    return module.in_channels // module.groups * math.prod(module.kernel_size)


def standardises_already(module: nn.Module) -> bool:
    """Whether a convolution is one of timm's or transformers' that standardise their weights."""
    return type(module).__name__ in _STANDARDISED


def parametrizations(module: nn.Module) -> list[nn.Module]:
    """What is applied to the weight of a module each time it is read."""
    held = getattr(module, "parametrizations", None)
    applied = held["weight"] if isinstance(held, nn.ModuleDict) and "weight" in held else None
    return list(applied) if isinstance(applied, nn.ModuleList) else []


def never_standardised(module: _ConvNd) -> str:  # noqa: PLR0911 - one reason after the other
    """Why the weights of a convolution cannot be standardised, or empty.

    Example:
        >>> never_standardised(nn.Conv2d(8, 8, 1, groups=8))
        'one weight a unit: standardised it would be 0'
        >>> never_standardised(nn.Conv2d(3, 8, 3))
        ''
    """
    name = type(module).__name__
    if type(module).__module__.startswith("torch.ao."):
        return f"{name} is made for quantisation"
    if standardises_already(module):
        return f"{name} standardises its weights already"
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return f"{name} is not built yet"
    if parametrize.is_parametrized(module, "weight"):
        kinds = ", ".join(type(one).__name__.strip("_") for one in parametrizations(module))
        return f"its weights are parametrised already ({kinds})"
    if "weight" not in dict(module.named_parameters(recurse=False)):
        return "its weights are made by a hook before each call, as torch's old weight_norm does"
    if fan_in(module) == 1:
        return "one weight a unit: standardised it would be 0"
    return ""
