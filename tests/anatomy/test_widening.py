"""Chunks put together are the matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.anatomy.widening import row_chunks


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("shape", [(7, 5), (3, 70_000), (100, 1), (0, 4)])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_chunks_put_together_are_the_matrix(
    dtype: torch.dtype, shape: tuple[int, int], precision: type[np.float32 | np.float64]
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    chunks = [chunk.copy() for chunk in row_chunks(matrix, precision, elements=16)]
    assert all(chunk.dtype == precision for chunk in chunks)
    whole = np.concatenate([np.zeros((0, shape[1])), *chunks])
    np.testing.assert_array_equal(whole, matrix.to(torch.float64 if precision is np.float64 else torch.float32).numpy())


def test_a_matrix_of_the_right_precision_is_not_copied() -> None:
    matrix = torch.zeros(4, 4)
    next(row_chunks(matrix, np.float32, elements=8))[0, 0] = 1.0
    assert matrix[0, 0] == 1.0
