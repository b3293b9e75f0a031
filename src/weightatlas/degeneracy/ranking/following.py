"""Whether directions that are called free are, each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from scipy import sparse

from weightatlas.degeneracy.union import SEPARATION

if TYPE_CHECKING:
    from weightatlas.degeneracy.ranking.free_directions import FreeDirections
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap


BLOCK: Final = 512
"""Directions beyond the number of parameters that are held before all are replaced by as many as these."""

DENSE: Final = 16
"""Of so many numbers at most one may be other than 0, if sparse products are to be the faster ones."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What following them gave.

    Attributes:
        count: how many directions.
        largest: the largest |J v| / |v|, in units of the largest singular value of J; 0 where there are none.
        union: the dimension of the part of their span that is free.
    """

    count: int
    largest: float
    union: int


def follow_all(
    network: ParameterMap, found: FreeDirections, factor: torch.Tensor, *, largest: float, tolerance: float
) -> Followed:
    """Follow every one by the triangular factor R of J, whose |R v| is |J v|.

    The span's part that is free: an orthonormal basis U of it is taken (singular values above `SEPARATION` of all the
    vectors), and the singular values of R U that are at most `tolerance` times those of R are counted. By the
    min-max theorem J has as many at least.
    """
    span: list[torch.Tensor] = []
    images: list[torch.Tensor] = []
    count, most = 0, 0.0
    for rows in found.rows(network):
        scaled = rows / rows.norm(dim=1, keepdim=True)
        images.append(_image(factor, scaled))
        count += len(rows)
        most = max(most, float(images[-1].norm(dim=0).max()))
        span.append(scaled)
        if sum(map(len, span)) > network.size + BLOCK:
            span = [torch.linalg.qr(torch.cat(span), mode="r").R]
            images = [factor @ span[0].mT]
    if not count:
        return Followed(0, 0.0, 0)
    # Of their Gram matrix: what is kept has eigenvalues above SEPARATION squared, far above its rounding.
    values, vectors = torch.linalg.eigh(_gram(torch.cat(span)))
    kept = values > SEPARATION**2
    moved = torch.cat(images, dim=1) @ (vectors[:, kept] / values[kept].sqrt())
    steep = 0
    if float(moved.norm()) > tolerance * largest:  # else no singular value is above
        steep = int((torch.linalg.svdvals(moved) > tolerance * largest).sum())
    return Followed(count, most / largest if largest > 0 else 0.0, int(kept.sum()) - steep)


def _image(factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """R v of each row v, as columns: most rows are of one unit's weights, and 0 elsewhere."""
    columns = rows.any(0).nonzero().flatten()
    if 2 * len(columns) > rows.shape[1]:
        return factor @ rows.mT
    return factor[:, columns] @ rows[:, columns].mT


def _gram(rows: torch.Tensor) -> torch.Tensor:
    """Inner products of rows, most of whose numbers are 0."""
    if rows.device.type != "cpu":
        return rows @ rows.mT
    few = sparse.csr_array(rows.numpy())
    if few.nnz * DENSE > rows.numel():
        return rows @ rows.mT
    return torch.from_numpy((few @ few.T).toarray())
