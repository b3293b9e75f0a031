"""Random sums of the columns of a matrix that is too wide to be held: of the same rank."""

from __future__ import annotations

from typing import Final

import torch

FAMILIES: Final = 4
"""Sums that each column goes into, one of each family: with one, two columns that meet could not be told apart."""


BLOCK_BYTES: Final = 2**22
"""Of the rows whose columns are summed at a time: what is freed and taken again stays with the process."""


class ColumnSums:
    r"""Sums \(J \Omega\) of the columns of \(J\), each with a random weight in one sum of each of four families.

    Weights have a random sign and a size from 0.5 to 1.5, so that the rank of what has at most half as many rows as
    there are sums stays with probability 1; it can never grow. Where there are no more columns than sums, they stay.

    Example:
        >>> sums = ColumnSums(1000, 8)
        >>> sums(torch.eye(4, 1000)).shape
        torch.Size([4, 8])
        >>> ColumnSums(5, 8)(torch.eye(5)).equal(torch.eye(5))
        True
    """

    def __init__(self, columns: int, sums: int, *, seed: int = 0, device: torch.device | str = "cpu") -> None:
        """Draw them.

        Args:
            columns: of the matrix.
            sums: how many in all; rounded up to whole families.
            seed: of the draw.
            device: of the matrix.
        """
        self._is_whole = columns <= sums
        if self._is_whole:
            return
        self._share = -(-columns // -(-sums // FAMILIES))
        self._each = -(-columns // self._share)
        self._columns = columns
        generator = torch.Generator().manual_seed(seed)
        self._orders = [torch.randperm(columns, generator=generator).to(device) for _ in range(FAMILIES)]
        sizes = torch.rand(FAMILIES, columns, generator=generator) + 0.5
        signs = torch.randint(0, 2, (FAMILIES, columns), generator=generator) * 2 - 1
        self._weights = (sizes * signs).to(device)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Sum the columns of some rows, (rows, columns) to (rows, sums)."""
        if self._is_whole:
            return rows
        found = rows.new_empty(len(rows), len(self._orders) * self._each)
        step = max(1, BLOCK_BYTES // (self._columns * rows.element_size()))
        mixed = rows.new_zeros(min(step, len(rows)), self._each * self._share)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            for number, (order, weights) in enumerate(zip(self._orders, self._weights, strict=True)):
                chosen = mixed[: len(part), : self._columns]
                torch.mul(part[:, order], weights.to(rows.dtype), out=chosen)
                sums = mixed[: len(part)].view(len(part), self._each, self._share).sum(2)
                found[start : start + step, number * self._each : (number + 1) * self._each] = sums
        return found
