"""Whether directions that are called free are: each of them, or random combinations of all of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.degeneracy.ranking.checking import changes, largest_singular_value
from weightatlas.degeneracy.union import SEPARATION
from weightatlas.evaluation.held_batches import HeldBatches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from weightatlas.degeneracy.ranking.free_directions import FreeDirections
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap


BLOCK: Final = 512
"""Directions that are followed at once."""

EXAMPLES: Final = 128
"""That combinations are followed on: what is free on all the data is free on these."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What following them gave.

    Attributes:
        count: how many directions or combinations.
        largest: the largest |J v| / |v|, in units of the largest singular value of J; 0 where there are none.
        union: the dimension of the part of their span that is free; None where not each was followed.
    """

    count: int
    largest: float
    union: int | None


def follow_all(
    network: ParameterMap, found: FreeDirections, factor: torch.Tensor, *, largest: float, tolerance: float
) -> Followed:
    """Follow every one by the triangular factor R of J, whose |R v| is |J v|.

    The span's part that is free: an orthonormal basis U of it is taken (singular values above `SEPARATION` of all the
    vectors), and the singular values of R U that are at most `tolerance` times those of R are counted. By the
    min-max theorem J has as many at least.
    """
    span, count, most = factor[:0], 0, 0.0
    for rows in _in_blocks(found.rows(network)):
        scaled = rows / rows.norm(dim=1, keepdim=True)
        count += len(rows)
        most = max(most, float((factor @ scaled.mT).norm(dim=0).max()))
        span = torch.cat([span, scaled])
        if len(span) > network.size + BLOCK:
            span = torch.linalg.qr(span, mode="r").R
    if not count:
        return Followed(0, 0.0, 0)
    # Of their Gram matrix: what is kept has eigenvalues above SEPARATION squared, far above its rounding.
    values, vectors = torch.linalg.eigh(span @ span.mT)
    kept = values > SEPARATION**2
    moved = factor @ ((vectors[:, kept] / values[kept].sqrt()).mT @ span).mT
    steep = 0
    if float(moved.norm()) > tolerance * largest:  # else no singular value is above
        steep = int((torch.linalg.svdvals(moved) > tolerance * largest).sum())
    return Followed(count, most / largest if largest > 0 else 0.0, int(kept.sum()) - steep)


def _in_blocks(pieces: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The same rows, `BLOCK` or more at a time: each product reads all of the factor."""
    held: list[torch.Tensor] = []
    for piece in pieces:
        held.append(piece)
        if sum(map(len, held)) >= BLOCK:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)


def follow_some(network: ParameterMap, held: HeldBatches, found: FreeDirections, *, checks: int, seed: int) -> Followed:
    """Follow random combinations of all directions of each kind, on the first `EXAMPLES` of the data."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat([found.combined(network, generator) for _ in range(checks)])
    if not len(rows):
        return Followed(0, 0.0, None)
    first = HeldBatches(held, examples=EXAMPLES, device=network.device)
    moved = changes(network, first, rows.to(network.dtype))
    largest = largest_singular_value(network, first, seed=seed)
    return Followed(len(rows), float(moved.max()) / largest if largest > 0 else 0.0, None)
