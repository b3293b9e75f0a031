"""Copies of a network to measure, in a precision and on a device of their own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.nonlinearities import uncovered

if TYPE_CHECKING:
    from torch import nn


def copied(model: nn.Module, *, dtype: torch.dtype | None, device: torch.device | str | None = None) -> nn.Module:
    """A copy of a network to measure: in a precision, on a device, without gradients of its own.

    Args:
        model: the network, which stays as it is.
        dtype: of its floating-point parameters and buffers; None leaves them as they are.
        device: where the copy is; None is where the network is.

    Raises:
        SourceError: it holds what cannot be copied.

    Example:
        >>> copied(torch.nn.Linear(2, 3), dtype=torch.float64).weight.dtype
        torch.float64
    """
    try:
        twin = copy.deepcopy(uncovered(model))
    except (RuntimeError, TypeError) as error:
        problem = f"the network cannot be copied: {str(error).splitlines()[0]}"
        raise SourceError(type(model).__name__, problem, "measure it as it is, with dtype=None") from error
    return twin.requires_grad_(requires_grad=False).to(device=device, dtype=dtype)
