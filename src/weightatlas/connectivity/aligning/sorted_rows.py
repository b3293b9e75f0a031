"""What can be said of units before it is known in which order their neighbours stand: their weights, sorted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch

from weightatlas.connectivity.aligning.chunks import CHUNK_BYTES, Picks, gathered, spans

QUANTILES: Final = 256
"""Most values that stand for sorted axes: evenly spaced ones of those that there are."""


def sorted_rows(
    view: torch.Tensor,
    picks: Picks,
    axis: int,
    free: Sequence[int],
    *,
    device: torch.device | None = None,
    limit: int = CHUNK_BYTES,
) -> Iterator[torch.Tensor]:
    """For each entry of an axis what stands there, sorted over some axes: the same whatever their order is.

    Two networks whose units are permuted have the same rows, in another order; a matching by rows finds that.

    Args:
        view: a tensor.
        picks: which entries of the axes that are not sorted, in which order.
        axis: whose entries have a row each.
        free: what is sorted over; at least one axis.
        device: where to.
        limit: most bytes that are gathered at once.

    Yields:
        float32 (entries, columns): one matrix for some of the other indices each, or one in all.
    """
    fixed = [number for number in range(view.ndim) if number != axis and number not in free]
    cut = fixed or [axis]
    pieces = (
        _quantiles(gathered(view, picks, span, device=device).permute(axis, *fixed, *free).flatten(1 + len(fixed)))
        for span in spans(view, picks, among=cut, limit=limit)
    )
    if fixed:
        yield from (piece.flatten(1) for piece in pieces)
    else:
        yield torch.cat(list(pieces))


def _quantiles(piece: torch.Tensor) -> torch.Tensor:
    """Sorted along the last axis, of which at most so many evenly spaced values are kept."""
    ordered = piece.sort(-1).values
    length = ordered.shape[-1]
    if length <= QUANTILES:
        return ordered
    return ordered[..., torch.linspace(0, length - 1, QUANTILES, device=piece.device).round().long()]
