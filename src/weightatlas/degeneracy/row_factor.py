"""The triangular factor of very many rows, taken in a few at a time."""

from __future__ import annotations

from typing import Final

import torch

WIDE: Final = 1024
"""Widths above this are summed up as a Gram matrix: a triangular factor takes several times as long."""

_ROWS: Final = 2048
"""Rows that are gathered before they are taken in: enough for the transformations to run as matrix products."""


class RowFactor:
    r"""A matrix R with \(R^\top R = \sum_r r r^\top\) over rows r, in float64.

    Up to `wide` columns it is computed by Householder's transformations, which never square: its singular values are
    right to the precision times the largest. Above that it is computed by the Gram matrix, which knows them to the
    square root of that.

    Attributes:
        width: of the rows.

    Example:
        >>> factor = RowFactor(2)
        >>> factor.add(torch.tensor([[3.0, 0.0], [4.0, 0.0]]))
        >>> factor.triangle().abs()
        tensor([[5., 0.],
                [0., 0.]], dtype=torch.float64)
    """

    def __init__(self, width: int, *, wide: int = WIDE) -> None:
        self.width = width
        self._is_wide = width > wide
        self._held: list[torch.Tensor] = []
        self._count = 0
        self._sum = torch.zeros((width if self._is_wide else 0, width), dtype=torch.float64)

    @property
    def noise(self) -> float:
        """How far a singular value may be off, relative to the largest; one below that cannot be told from 0."""
        precision = self.width * torch.finfo(torch.float64).eps
        return float(precision**0.5 if self._is_wide else precision)

    def add(self, rows: torch.Tensor) -> None:
        """Take in rows (rows, width)."""
        rows = in_double(rows.detach())
        self._sum = self._sum.to(rows.device)
        if self._is_wide:
            self._sum.addmm_(rows.T, rows)
            return
        self._held.append(rows)
        self._count += len(rows)
        if self._count >= max(_ROWS, 2 * self.width):
            self._take()

    def triangle(self) -> torch.Tensor:
        """R (rows, width): triangular with at most `width` rows, or a root of the Gram matrix."""
        if self._is_wide:
            values, vectors = self.singular()
            return values[:, None] * vectors.T
        self._take()
        return self._sum

    def singular(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Singular values (rank,) of all the rows together, descending, and their right singular vectors as columns."""
        if self._is_wide:
            values, vectors = torch.linalg.eigh(self._sum)
            return values.clamp(min=0).sqrt().flip(0), vectors.flip(1)
        self._take()
        _, values, vectors = torch.linalg.svd(self._sum, full_matrices=False)
        return values, vectors.T

    def _take(self) -> None:
        if self._held:
            self._sum = torch.linalg.qr(torch.cat([self._sum, *self._held]), mode="r").R
        self._held, self._count = [], 0


def in_double(values: torch.Tensor) -> torch.Tensor:
    """The same in double precision: where they are, or on the CPU where their device has none."""
    return values.to("cpu" if values.device.type == "mps" else values.device).to(torch.float64)
