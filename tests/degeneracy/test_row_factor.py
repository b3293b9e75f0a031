from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.degeneracy.row_factor import RowFactor


def rows(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("wide", [1, 1024])
@pytest.mark.parametrize("counts", [(3,), (40,), (30, 3000, 7)])
def test_its_products_and_singular_values_are_those_of_the_rows(wide: int, counts: tuple[int, ...]) -> None:
    whole = rows(sum(counts), 6)
    factor = RowFactor(6, wide=wide)
    for part in whole.split(counts):  # type: ignore[no-untyped-call]
        factor.add(part)
    triangle = factor.triangle()
    torch.testing.assert_close(triangle.T @ triangle, whole.T @ whole)
    values, vectors = factor.singular()
    expected = np.linalg.svd(whole.numpy(), compute_uv=False)
    np.testing.assert_allclose(values[: len(expected)], expected, rtol=1e-6)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(len(values), dtype=torch.float64))


def test_small_singular_values_are_known_where_squares_lose_them() -> None:
    scales = torch.tensor([1.0, 1e-6, 1e-12], dtype=torch.float64)
    left = torch.linalg.qr(rows(5000, 3)).Q
    right = torch.linalg.qr(rows(3, 3)).Q
    whole = left * scales @ right.T
    found, squared = RowFactor(3), RowFactor(3, wide=1)
    for start in range(0, 5000, 700):
        found.add(whole[start : start + 700])
        squared.add(whole[start : start + 700])
    np.testing.assert_allclose(found.singular()[0][1:], scales[1:], rtol=1e-2)
    assert abs(float(squared.singular()[0][2]) - 1e-12) < squared.noise
    assert found.noise < 1e-14
    assert squared.noise > 1e-9


def test_other_types_are_computed_in_double() -> None:
    factor = RowFactor(2)
    factor.add(torch.ones(3, 2, dtype=torch.float16).requires_grad_())
    assert factor.triangle().dtype == torch.float64
    assert not factor.triangle().requires_grad


@pytest.mark.parametrize("wide", [1, 1024])
def test_no_rows_are_nothing(wide: int) -> None:
    factor = RowFactor(3, wide=wide)
    assert not factor.triangle().any()
    assert not factor.singular()[0].any()
