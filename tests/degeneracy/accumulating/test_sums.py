from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.degeneracy.accumulating.sums import GramSum, TriangleSum
from weightatlas.degeneracy.spectra import Suspects


@pytest.mark.parametrize("width", [1, 7, 256, 300, 600])
@pytest.mark.parametrize("groups", [1, 3])
def test_sums_over_chunks_are_the_product_of_all(width: int, groups: int) -> None:
    columns = torch.randn(groups, width, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    total = GramSum(groups, width)
    for start in range(0, 50, 20):
        total.add(columns[:, :, start : start + 20])
    wanted = np.einsum("gip,gjp->gij", columns, columns)
    np.testing.assert_allclose(total.matrix(), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_array_equal(total.matrix(), total.matrix().mT)
    assert total.positions == 50


def test_compensation_keeps_what_a_sum_in_float32_loses() -> None:
    total = GramSum(1, 1, precision="compensated")
    total.add(torch.full((1, 1, 1), 4096.0))
    for _ in range(1000):
        total.add(torch.full((1, 1, 1), 0.5))
    assert float(torch.tensor(4096.0**2) + 0.25) == 4096.0**2  # what plain sums give
    assert total.matrix().item() == 4096.0**2 + 250


def test_a_triangle_has_the_singular_values_of_the_rows_along_its_directions() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 6)) * [1, 1, 1, 1e-6, 1e-6, 0] @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    suspects = Suspects.of(torch.from_numpy(rows.T @ rows))
    assert suspects.count == 3
    triangle = TriangleSum([suspects])
    for start in range(0, 60, 7):
        triangle.add(torch.from_numpy(rows[start : start + 7].T[None]))
    assert triangle.factors[0] is not None
    found = np.linalg.svd(triangle.factors[0])[1]
    np.testing.assert_allclose(found[:2], np.linalg.svd(rows)[1][3:5], rtol=1e-6)
    assert found[2] < 1e-12
