"""Values that a narrower type cannot hold: told before a checkpoint's tensor is cast to a model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from weightatlas.checkpoints.dtypes import name_of, torch_dtype

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Checkpoint

CHUNK: Final = 1 << 22
"""Elements that are looked at at a time."""

Number = int | float


def beyond(weights: Checkpoint, name: str, target: torch.dtype) -> str | None:
    """What a tensor holds that the target type cannot: the worst value and the bound that it passes.

    Torch casts 1e6 to an infinite float16 or to the largest float8, and 300 to a uint8 of 44, and says nothing. Values
    that are merely rounded pass, and so do NaN and infinite ones. The tensor is read, a chunk at a time, only where its
    type reaches further than the target.

    Args:
        weights: where the tensor is.
        name: its full name there.
        target: the type it would be cast to.

    Returns:
        A clause, or None where every value fits.

    Raises:
        SourceError: the tensor cannot be read.

    Example:
        >>> from weightatlas.checkpoints import open_checkpoint
        >>> beyond(open_checkpoint({"weight": torch.tensor([1.0, 1e6])}), "weight", torch.float16)
        'it holds 1000000, and float16 ends at 65504'
    """
    first, last = _range(target)
    lowest, highest = _range(torch_dtype(weights.info[name].dtype))
    if first <= lowest and highest <= last:
        return None
    low: Number = 0
    high: Number = 0
    for chunk in weights.chunks(name, CHUNK):
        least, most = _extremes(chunk)
        low, high = min(low, least), max(high, most)
    if high > last:
        return f"it holds {_said(high)}, and {name_of(target)} ends at {_said(last)}"
    if low < first:
        return f"it holds {_said(low)}, and {name_of(target)} begins at {_said(first)}"
    return None


def _range(dtype: torch.dtype) -> tuple[Number, Number]:
    """The least and the largest finite number of a type; of a complex one, of its parts."""
    if dtype is torch.bool:
        return 0, 1
    if not (dtype.is_floating_point or dtype.is_complex):
        whole = torch.iinfo(dtype)
        return whole.min, whole.max
    real = torch.finfo(dtype)
    return (0.0 if dtype is torch.float8_e8m0fnu else real.min), real.max  # e8m0 has no sign


def _extremes(chunk: torch.Tensor) -> tuple[Number, Number]:
    """The least and the largest of the finite numbers, exactly, and of zero."""
    offset = 0
    if chunk.is_complex():
        chunk = torch.view_as_real(chunk.resolve_conj())
    if chunk.is_floating_point():
        wide = chunk.float() if chunk.element_size() == 1 else chunk  # torch compares no type of 8 bits
        wide = wide[wide.isfinite()]
    elif chunk.dtype is torch.uint64:  # torch finds no extremes of it; with the top bit turned, int64 has its order
        offset = 1 << 63
        wide = chunk.view(torch.int64) ^ -offset
    else:
        wide = chunk.to(torch.int64)
    if not wide.numel():
        return 0, 0
    low, high = wide.aminmax()
    return low.item() + offset, high.item() + offset


def _said(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"
