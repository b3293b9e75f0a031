"""Numbers to try a network's symmetries with: whatever is the same everywhere would hide a wrong permutation."""

from __future__ import annotations

import math
from typing import Any, Final

import torch

SMALL: Final = 0.1
"""Constants below this, as scales that begin near 0, would hide a branch: what is verified has larger ones."""


def is_floating(one: object) -> bool:
    """Whether something is a tensor of real numbers."""
    return isinstance(one, torch.Tensor) and one.is_floating_point()


def stirred(tensor: Any, generator: torch.Generator) -> Any:  # noqa: ANN401 - a state dict may hold anything
    """A tensor that is the same everywhere, drawn at random about that in float64; any other as it is.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> stirred(torch.ones(1000), generator).mean().round(decimals=1)
        tensor(1., dtype=torch.float64)
        >>> stirred(torch.tensor([1.0, 2.0]), generator)
        tensor([1., 2.])
    """
    if not is_floating(tensor) or tensor.numel() < 2 or bool((tensor != tensor.reshape(-1)[0]).any()):
        return tensor
    level = float(tensor.reshape(-1)[0])
    if not level or not math.isfinite(level):
        return torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * SMALL if not level else tensor
    about = level if abs(level) >= SMALL else math.copysign(0.5, level)
    return about * (0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64))


def redrawn(tensor: Any, generator: torch.Generator) -> Any:  # noqa: ANN401 - a state dict may hold anything
    """Other numbers of the same size, all on their own: normal ones about 0 with the same mean square.

    Units that are dead, equal or tied by training are none of that afterwards. Where no number is below 0, as of a
    variance, the given ones are drawn from instead. Numbers that are not all finite, as of a mask, stay, and so do
    integers.
    """
    if not is_floating(tensor) or tensor.numel() < 2 or not bool(tensor.isfinite().all()):
        return tensor
    if bool((tensor == tensor.reshape(-1)[0]).all()):
        made = stirred(tensor, generator)
        return (
            made * torch.randn(tensor.shape, generator=generator).sign() if float(tensor.reshape(-1)[0]) < 0 else made
        )
    if bool((tensor >= 0).all()):
        places = torch.randint(tensor.numel(), tensor.shape, generator=generator)
        return tensor.reshape(-1)[places]
    kept = tensor.dtype if tensor.dtype in {torch.float32, torch.float64} else torch.float32
    size = float(torch.linalg.vector_norm(tensor, dtype=kept)) / math.sqrt(tensor.numel())
    return torch.randn(tensor.shape, generator=generator, dtype=kept).mul_(size)
