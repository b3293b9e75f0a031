"""Ranks with a proof, beside singular values."""

from __future__ import annotations

import pytest
import torch

from weightatlas.degeneracy.ranking import proving
from weightatlas.degeneracy.ranking.proving import proved_null, proved_rank


def of_rank(rank: int, shape: tuple[int, int], decades: float = 0.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(size, rank, generator=generator, dtype=torch.float64)).Q for size in shape
    )
    matrix: torch.Tensor = left * torch.logspace(0, -decades, rank, dtype=torch.float64) @ right.T
    return matrix


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (60, 60)])
@pytest.mark.parametrize("rank", [1, 20, 59, 60])
@pytest.mark.parametrize("decades", [0.0, 4.0])
def test_it_is_that_of_the_singular_values(shape: tuple[int, int], rank: int, decades: float) -> None:
    matrix = of_rank(rank, shape, decades)
    found = proved_rank(matrix, 1e-9)
    assert found is not None
    assert found[0] == rank == int((torch.linalg.svdvals(matrix) > 1e-9).sum())
    assert found[1] == pytest.approx(1, rel=1e-2)


def test_rows_and_columns_that_are_zero_do_no_harm() -> None:
    matrix = of_rank(12, (50, 40))
    matrix[:, :9] = 0
    matrix[3:30] = 0
    found = proved_rank(matrix, 1e-9)
    assert found is not None
    assert found[0] == int((torch.linalg.svdvals(matrix) > 1e-9).sum())


def test_what_bounds_do_not_decide_is_left_open() -> None:
    matrix = torch.diag(torch.logspace(0, -14, 57, dtype=torch.float64))  # values on both sides of any threshold
    assert proved_rank(matrix, 1e-9) is None


def test_factoring_the_transpose_tells_values_apart_that_fall_to_near_the_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = torch.cat([torch.logspace(0, -8, 200, dtype=torch.float64), torch.full((100,), 1e-15)])
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(300, 300, dtype=torch.float64)).Q for _ in range(2))
    matrix = left * values @ right.mT
    found = proved_rank(matrix, 1e-9)
    assert found is not None
    assert found[0] == 200
    monkeypatch.setattr(proving, "TURNS", 0)
    assert proved_rank(matrix, 1e-9) is None


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (60, 60), (7, 60)])
@pytest.mark.parametrize("rank", [1, 5, 7, 20, 59, 60])
def test_null_vectors_are_those_of_the_singular_values(shape: tuple[int, int], rank: int) -> None:
    matrix = of_rank(min(rank, *shape), shape, 4.0)
    found = proved_null(matrix, 1e-9)
    assert found is not None
    assert found.shape == (shape[1], shape[1] - min(rank, *shape))
    assert float((matrix @ found).norm()) < 1e-13
    torch.testing.assert_close(found.mT @ found, torch.eye(found.shape[1], dtype=torch.float64))


def test_null_vectors_that_bounds_do_not_decide_are_left_open() -> None:
    assert proved_null(torch.diag(torch.logspace(0, -14, 57, dtype=torch.float64)), 1e-9) is None


def test_a_matrix_of_zeros_has_rank_0() -> None:
    assert proved_rank(torch.zeros(5, 4, dtype=torch.float64), 1e-9) == (0, 0.0)


def test_an_answer_is_never_wrong_however_close_the_values_are() -> None:
    answered = 0
    for seed in range(40):
        decades = 4 + seed / 4
        matrix = of_rank(30, (45, 40), decades, seed)
        found = proved_rank(matrix, 1e-9)
        if found is not None:
            answered += 1
            assert found[0] == int((torch.linalg.svdvals(matrix) > 1e-9 * 1).sum())
    assert answered >= 12
