"""The best assignment of one network's units to another's, by what they have in common."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def assigned(gram: torch.Tensor) -> NDArray[np.int64]:
    r"""The permutation \(\sigma\) with the largest sum of \(G_{i \sigma(i)}\).

    What is the same for all permutations is taken away first, of each row what its largest entry is and of each column
    what is then the least that it lacks: scipy's search for shortest paths begins without it and then takes about half
    the time for the matrices of matching.

    Args:
        gram: (n, n).

    Example:
        >>> assigned(torch.tensor([[1.0, 3.0], [2.0, 1.0]])).tolist()
        [1, 0]
    """
    matrix = gram.cpu().numpy()
    lacking = np.subtract(matrix.max(1, keepdims=True), matrix, dtype=np.float64)
    lacking -= lacking.min(0)
    _, order = linear_sum_assignment(lacking)
    return np.asarray(order, np.int64)


def value(gram: torch.Tensor, order: NDArray[np.int64]) -> float:
    """What a permutation gets of a matrix, summed in float64."""
    picked = gram.cpu().numpy()[np.arange(len(order)), order]
    return float(picked.sum(dtype=np.float64))
