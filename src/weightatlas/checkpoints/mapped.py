"""One tensor out of a file, mapped: only the pages that are looked at are ever read."""

from __future__ import annotations

import math
import mmap
import os
import sys
from typing import TYPE_CHECKING

from weightatlas.checkpoints.dtypes import ITEM_SIZES, torch_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch


def map_tensor(path: Path, offset: int, shape: Sequence[int], dtype: str, *, big_endian: bool = False) -> torch.Tensor:
    """Map `shape` elements of `dtype` that start at byte `offset`, in C order.

    The mapping is private: writing to the tensor changes memory, never the file. It covers the tensor alone, so that a
    file larger than memory can be read tensor by tensor.

    Raises:
        ValueError: the file ends before the tensor does.
    """
    size = math.prod(shape) * ITEM_SIZES[dtype]
    if size == 0:
        return from_bytes(bytearray(), shape, dtype)
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < offset + size:
            message = "the file is shorter than its header says"
            raise ValueError(message)
        memory = mmap.mmap(file.fileno(), offset - start + size, access=mmap.ACCESS_COPY, offset=start)
    return from_bytes(memory, shape, dtype, offset=offset - start, big_endian=big_endian)


def from_bytes(
    memory: mmap.mmap | bytearray, shape: Sequence[int], dtype: str, *, offset: int = 0, big_endian: bool = False
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
