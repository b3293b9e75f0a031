"""Weights that are in memory already: a module, or a dictionary of tensors, whoever loaded it. Nothing is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.dtypes import ITEM_SIZES, name_of
from weightatlas.checkpoints.unpacking import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn


def open_module(module: nn.Module) -> Contents:
    """List the parameters and persistent buffers of a module, tied ones under each of their names."""
    return contents_of_state(module.state_dict(), title="module", file=type(module).__name__)


def contents_of_state(
    state: Mapping[Any, Any],
    *,
    title: str,
    file: str,
    limit: int | None = None,
) -> Contents:
    """List a state dict or a training run's dictionary that holds one.

    With a `limit` (the size of the file it came from), a tensor that claims more bytes than that is skipped: a few
    bytes of file can pretend to be a tensor of any size by strides of zero.
    """
    import torch  # its tensors are there, so torch is

    found = unpack(state, lambda value: isinstance(value, torch.Tensor) or _is_array(value))
    headers: list[Header] = []
    tensors: dict[str, torch.Tensor] = {}
    for name, value in found.tensors.items():
        reason = None
        try:
            tensor = value.detach() if isinstance(value, torch.Tensor) else torch.from_numpy(value)
            reason = _unreadable(tensor, limit)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = f"no plain tensor: {str(error).splitlines()[0][:80]}"
        if reason is not None:
            found.skipped.append(Skipped(name, reason))
            continue
        tensors[name] = tensor
        headers.append(Header(name, name, tuple(tensor.shape), name_of(tensor.dtype), tensor.nbytes, file))
    return Contents(
        title, headers, lambda name: tensors[name].cpu(), found.metadata, tuple(found.skipped), tuple(found.notes)
    )


def _is_array(value: object) -> bool:
    import numpy as np  # torch has loaded it

    return isinstance(value, np.ndarray)


def _unreadable(tensor: torch.Tensor, limit: int | None) -> str | None:
    import torch

    if tensor.is_quantized or tensor.layout is not torch.strided or tensor.is_nested:
        return f"a {'quantized' if tensor.is_quantized else 'sparse or nested'} tensor"
    if tensor.is_meta:
        return "on the meta device: it has a shape and no values"
    if name_of(tensor.dtype) not in ITEM_SIZES:
        return f"its type {name_of(tensor.dtype)} cannot be measured"
    if limit is not None and tensor.nbytes > limit:
        return f"claims {tensor.nbytes} bytes in a file of {limit}"
    return None
