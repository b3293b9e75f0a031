"""Ranks with a proof, beside singular values."""

from __future__ import annotations

import pytest
import torch

from weightatlas.degeneracy.ranking.proving import proved_rank


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
