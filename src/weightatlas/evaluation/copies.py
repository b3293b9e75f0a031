"""Copies of a network to measure, in a precision and on a device of their own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.nonlinearities import uncovered

if TYPE_CHECKING:
    from torch import nn


def in_precision(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A tensor in a floating-point type: complex numbers in the complex one of that precision, other types as they are.

    No complex type is narrower than complex64, as torch computes next to nothing in one.

    Example:
        >>> in_precision(torch.zeros(1, dtype=torch.complex64), torch.float64).dtype
        torch.complex128
        >>> in_precision(torch.zeros(1, dtype=torch.int64), torch.float64).dtype
        torch.int64
    """
    if tensor.is_complex():
        return tensor.to(torch.promote_types(dtype, torch.complex64))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def cast(module: nn.Module, *, dtype: torch.dtype | None, device: torch.device | str | None = None) -> nn.Module:
    """Take a network to a precision and a device, in place, and give it back.

    As `nn.Module.to`, but for complex parameters and buffers (the turns of rotary positions, say), of which that would
    keep the real parts alone: `in_precision` says what they become.

    Args:
        module: the network.
        dtype: of its floating-point parameters and buffers; None leaves them as they are.
        device: where to; None leaves it where it is.

    Example:
        >>> module = torch.nn.Linear(2, 3)
        >>> module.register_buffer("turns", torch.ones(2, dtype=torch.complex64))
        >>> cast(module, dtype=torch.float64).turns.dtype, module.weight.dtype
        (torch.complex128, torch.float64)
    """
    moved = module.to(device=device)
    if dtype is None:
        return moved
    return moved._apply(lambda tensor: in_precision(tensor, dtype))  # type: ignore[no-untyped-call,no-any-return] # noqa: SLF001 - what `to` calls


def copied(model: nn.Module, *, dtype: torch.dtype | None, device: torch.device | str | None = None) -> nn.Module:
    """A copy of a network to measure: in a precision, on a device, without gradients of its own.

    Args:
        model: the network, which stays as it is.
        dtype: of its floating-point parameters and buffers, as `cast` takes it; None leaves them as they are.
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
    return cast(twin.requires_grad_(requires_grad=False), dtype=dtype, device=device)
