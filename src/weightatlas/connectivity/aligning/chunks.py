"""Two blocks gone through together, a bounded number of bytes at a time, entries in the order that is asked for."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK_BYTES: Final = 2**26
"""Most bytes of one gathered piece of a tensor in float32, unless a single slice of it is larger: 64 MiB."""

Span = tuple[int | None, int, int]
"""An axis, and from which to which of its picked entries; an axis of None is the whole."""

Picks = Sequence[NDArray[np.int64] | None]
"""For each axis which entries, in order; None is all as they stand."""


def spans(
    view: torch.Tensor, picks: Picks, *, among: Collection[int] | None = None, limit: int = CHUNK_BYTES
) -> Iterator[tuple[int | None, int, int]]:
    """Cut what is picked of a tensor into pieces along one of its axes, the longest.

    Args:
        view: the tensor.
        picks: entries of each axis.
        among: the axes that may be cut; None is all.
        limit: most bytes of a piece in float32.

    Yields:
        The axis (None where there is none to cut), and from which to which of the picked entries.
    """
    lengths = [size if pick is None else len(pick) for size, pick in zip(view.shape, picks, strict=True)]
    free = range(view.ndim) if among is None else among
    if not free:
        yield None, 0, 0
        return
    axis = max(free, key=lambda number: lengths[number])
    slice_bytes = 4 * math.prod(length for number, length in enumerate(lengths) if number != axis)
    step = max(1, limit // max(slice_bytes, 1))
    for start in range(0, lengths[axis], step):
        yield axis, start, min(start + step, lengths[axis])


def gathered(
    view: torch.Tensor,
    picks: Picks,
    span: Span,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """One piece of what is picked of a tensor.

    Args:
        view: the tensor, of any floating-point type.
        picks: entries of each axis.
        span: the piece, as `spans` gives it.
        device: where to; None is where the tensor is.
        dtype: what it is widened to.
    """
    cut, start, stop = span
    if cut is not None:
        pick = picks[cut]
        if pick is None:
            view = view.narrow(cut, start, stop - start)
        else:
            view = view.index_select(cut, torch.from_numpy(pick[start:stop]).to(view.device))
    for axis, pick in enumerate(picks):
        if pick is not None and axis != cut:
            view = view.index_select(axis, torch.from_numpy(pick).to(view.device))
    return view.to(device=device, dtype=dtype)


def as_rows(piece: torch.Tensor, axis: int) -> torch.Tensor:
    """A matrix (entries of an axis, all else); a view wherever strides allow one."""
    if axis == piece.ndim - 1:
        return piece.flatten(0, -2).T if piece.ndim > 1 else piece[:, None]
    return piece.movedim(axis, 0).flatten(1)
