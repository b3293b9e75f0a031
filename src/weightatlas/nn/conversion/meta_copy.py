"""A copy of a model without its values: it runs to show its structure, in no time and without memory."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator


def meta_copy(model: nn.Module) -> nn.Module:
    """Copy a model onto the meta device; no value of it is copied.

    Tensors that modules hold as plain attributes, or in lists and mappings of theirs, go there as well.

    Example:
        >>> copied = meta_copy(nn.Conv2d(3, 8, 3))
        >>> copied.weight.device, copied(torch.empty(1, 3, 5, 5, device="meta")).shape
        (device(type='meta'), torch.Size([1, 8, 3, 3]))
    """
    memo: dict[int, object] = {}
    for tensor in _tensors(model):
        if id(tensor) in memo:
            continue
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        memo[id(tensor)] = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from _within(value)


def _within(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _within(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _within(one)
