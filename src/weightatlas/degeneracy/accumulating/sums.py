"""Gram matrices, and triangular factors of a few directions, that take in columns as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.degeneracy.spectra import Suspects

Precision = Literal["float64", "compensated"]

PANEL: Final = 256
"""Rows of the sum that are computed at a time, at most, from their own columns on: the rest is their mirror."""


class GramSum:
    r"""\(\sum_t f_t f_t^T\) of each group, over all columns so far.

    "float64" converts and multiplies in float64. "compensated" multiplies in float32 and keeps the sum over chunks in
    two float32 numbers, the second for what the first has lost (Knuth's two-sum): as a sum it is as good as float64,
    and each chunk's own products keep float32's error.

    Attributes:
        dtype: of the products.
        positions: how many columns there were.

    Example:
        >>> total = GramSum(1, 2)
        >>> total.add(torch.tensor([[[1.0, 2.0], [0.0, 3.0]]], dtype=torch.float64))
        >>> total.matrix().tolist(), total.positions
        ([[[5.0, 6.0], [6.0, 9.0]]], 2)
    """

    def __init__(
        self, groups: int, width: int, *, precision: Precision = "float64", device: torch.device | str = "cpu"
    ) -> None:
        """Begin at 0."""
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.positions = 0
        self._high = torch.zeros(groups, width, width, dtype=self.dtype, device=device)
        self._low = torch.zeros_like(self._high) if precision == "compensated" else None

    def add(self, columns: torch.Tensor) -> None:
        """Take in columns (groups, width, positions) of this sum's type."""
        self.positions += columns.shape[2]
        width = columns.shape[1]
        panels = -(-width // PANEL)
        for number in range(panels):
            start, end = (width * edge // panels for edge in (number, number + 1))
            left, right = columns[:, start:end], columns[:, start:].mT
            high = self._high[:, start:end, start:]
            if self._low is None:
                _add_product(high, left, right)
            else:
                _add_compensated(high, self._low[:, start:end, start:], left @ right)

    def drop_last(self) -> None:
        """Forget the last number of every column."""
        self._high = self._high[:, :-1, :-1]
        self._low = None if self._low is None else self._low[:, :-1, :-1]

    def matrix(self) -> torch.Tensor:
        """The sum as it stands, float64 (groups, width, width), symmetric."""
        total = self._high.double() if self._low is None else self._high.double() + self._low.double()
        upper = total.triu()
        return upper + upper.triu(1).mT


class TriangleSum:
    """R of the QR factorisation of all columns along the directions that a Gram matrix could not tell from 0.

    Nothing is squared, so that its singular values are right to eps of the columns' length, in place of its root.

    Attributes:
        factors: R of each group; None where there is no such direction, or there were no columns.
    """

    def __init__(self, suspects: Sequence[Suspects]) -> None:
        """Begin with no columns; there are suspects for each group."""
        self._directions = [each.leaning for each in suspects]
        self.factors: list[torch.Tensor | None] = [None for _ in suspects]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to look at."""
        return any(directions.shape[1] for directions in self._directions)

    def add(self, columns: torch.Tensor) -> None:
        """Take in float64 columns (groups, width, positions)."""
        for group, directions in enumerate(self._directions):
            if directions.shape[1]:
                rows = columns[group].mT @ directions
                before = self.factors[group]
                stacked = rows if before is None else torch.cat([before, rows])
                self.factors[group] = torch.linalg.qr(stacked, mode="r").R


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    if len(total) == 1:
        total[0].addmm_(left[0], right[0])
    else:
        total.baddbmm_(left, right)


def _add_compensated(high: torch.Tensor, low: torch.Tensor, part: torch.Tensor) -> None:
    """Add a part to the first number, and what that loses to the second."""
    total = high + part
    taken = total - high
    low.add_((high - (total - taken)) + (part - taken))
    high.copy_(total)
