from __future__ import annotations

import pytest
import torch

from weightatlas.degeneracy.ranking import column_sums
from weightatlas.degeneracy.ranking.column_sums import ColumnSums


@pytest.mark.parametrize("rank", [1, 17, 40])
@pytest.mark.parametrize("seed", range(3))
def test_sums_keep_rank_and_about_the_singular_values(rank: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((40, rank), (rank, 2000))
    )
    whole = torch.linalg.svdvals(left @ right)
    summed = torch.linalg.svdvals(ColumnSums(2000, 80, seed=seed)(left @ right))
    assert int((summed > 1e-9 * summed[0]).sum()) == rank
    share = (summed[:rank] / whole[:rank]) / (summed[0] / whole[0])
    assert float(share.min()) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_columns_of_which_few_are_not_0_stay_apart(seed: int) -> None:
    sparse = torch.zeros(40, 5000, dtype=torch.float64)
    sparse[torch.arange(40), torch.randperm(5000, generator=torch.Generator().manual_seed(seed))[:40]] = 1
    assert int(torch.linalg.matrix_rank(ColumnSums(5000, 80, seed=seed)(sparse))) == 40


def test_sums_are_linear_and_the_same_for_every_piece() -> None:
    sums, rows = ColumnSums(300, 20, seed=1), torch.randn(6, 300, dtype=torch.float64)
    torch.testing.assert_close(torch.cat([sums(rows[:2]), sums(rows[2:])]), sums(rows))
    torch.testing.assert_close(sums(rows[:1] + rows[1:2]), sums(rows[:1]) + sums(rows[1:2]))
    assert not torch.equal(ColumnSums(300, 20, seed=2)(rows), sums(rows))


def test_sums_are_the_weighted_columns_of_each_family_whatever_is_done_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = torch.randn(7, 301, dtype=torch.float64)
    at_once = ColumnSums(301, 20, seed=1)(rows)
    monkeypatch.setattr(column_sums, "BLOCK_BYTES", 2 * 301 * 8)
    torch.testing.assert_close(ColumnSums(301, 20, seed=1)(rows), at_once)
    each = ColumnSums(301, 20, seed=1)(torch.eye(301, dtype=torch.float64))
    torch.testing.assert_close(rows @ each, at_once)
    assert ((each != 0).sum(1) == column_sums.FAMILIES).all()
