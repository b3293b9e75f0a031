"""One tensor out of a blob: mapped from this disk, where only pages that are looked at are read, or fetched."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from weightatlas.checkpoints.dtypes import ITEM_SIZES, torch_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from typing_extensions import Buffer

    from weightatlas.checkpoints.contents import Span


def read_span(span: Span, shape: Sequence[int], dtype: str) -> torch.Tensor:
    """The tensor of that shape and type whose elements lie at `span`.

    On this disk the mapping is private: writing to the tensor changes memory, never the file. It covers the tensor
    alone, so that a file larger than memory can be read tensor by tensor.

    Raises:
        ValueError: the blob ends before the tensor does.
    """
    count = math.prod(shape)
    if count and span.strides is not None:
        extent = 1 + sum(stride * (size - 1) for stride, size in zip(span.strides, shape, strict=True))
        flat = read_elements(span, 0, extent, dtype)
        return flat.as_strided(tuple(shape), span.strides)
    return read_elements(span, 0, count, dtype).reshape(tuple(shape))


def read_elements(span: Span, start: int, stop: int, dtype: str) -> torch.Tensor:
    """Elements `start` to `stop` of what lies at `span`, in the order of memory, flat."""
    item = ITEM_SIZES[dtype]
    memory, offset = span.blob.memory(span.offset + start * item, (stop - start) * item)
    return from_bytes(memory, (stop - start,), dtype, offset=offset, big_endian=span.big_endian)


def from_bytes(
    memory: Buffer, shape: Sequence[int], dtype: str, *, offset: int = 0, big_endian: bool = False
) -> torch.Tensor:
    """View writable memory as a tensor; copied only where its bytes are swapped or its address is not aligned."""
    import torch  # reading only: listing runs without it

    item = ITEM_SIZES[dtype]
    count = math.prod(shape)
    if count == 0:
        return torch.empty(tuple(shape), dtype=torch_dtype(dtype))
    if big_endian != (sys.byteorder == "big") and item > 1:
        part = item // 2 if dtype.startswith("complex") else item
        raw = torch.frombuffer(memory, dtype=torch.uint8, count=count * item, offset=offset)
        return raw.reshape(-1, part).flip(1).reshape(-1).view(torch_dtype(dtype)).reshape(tuple(shape))
    if offset % item:
        raw = torch.frombuffer(memory, dtype=torch.uint8, count=count * item, offset=offset)
        return raw.clone().view(torch_dtype(dtype)).reshape(tuple(shape))
    return torch.frombuffer(memory, dtype=torch_dtype(dtype), count=count, offset=offset).reshape(tuple(shape))
