"""Give a tensor of any floating-point type to numpy, a few rows at a time, without a copy of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

# torch copies more than this at once on threads of its own, which then fight with those of numpy's products: on two
# cores a hundred times slower than one thread alone.
_SINGLE_THREADED: Final = 1 << 15


def row_chunks(
    matrix: torch.Tensor, precision: type[np.floating[Any]], *, elements: int
) -> Iterator[npt.NDArray[np.floating[Any]]]:
    """Yield a matrix a few rows at a time, in the precision asked for.

    A chunk is a view where the matrix has that precision already, else a buffer that the next chunk overwrites.

    Args:
        matrix: rows by columns, on the CPU.
        precision: numpy's float32 or float64.
        elements: about how many at a time; never less than a row.

    Example:
        >>> matrix = torch.ones(3, 4, dtype=torch.bfloat16)
        >>> [chunk.shape for chunk in row_chunks(matrix, np.float32, elements=8)]
        [(2, 4), (1, 4)]
    """
    wanted = torch.float64 if precision is np.float64 else torch.float32
    columns = max(matrix.shape[1], 1)
    if matrix.dtype == wanted:
        rows = max(1, elements // columns)
        for start in range(0, matrix.shape[0], rows):
            yield matrix[start : start + rows].numpy()
        return
    rows = max(1, min(elements, _SINGLE_THREADED) // columns)
    buffer = torch.empty((rows, columns), dtype=wanted)
    for start in range(0, matrix.shape[0], rows):
        narrow = matrix[start : start + rows]
        wide = buffer[: narrow.shape[0]]
        for left in range(0, columns, _SINGLE_THREADED):
            wide[:, left : left + _SINGLE_THREADED].copy_(narrow[:, left : left + _SINGLE_THREADED])
        yield wide.numpy()
