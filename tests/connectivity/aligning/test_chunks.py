from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.connectivity.aligning.chunks import as_rows, gathered, spans


@pytest.mark.parametrize("limit", [1, 40, 10**6])
@pytest.mark.parametrize("among", [None, [0], [1, 2]])
def test_pieces_put_together_are_the_whole(limit: int, among: list[int] | None) -> None:
    tensor = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    picks = [np.array([3, 1, 0]), None, np.array([2, 1, 0, 0])]
    whole = tensor[[3, 1, 0]][:, :, [2, 1, 0, 0]].float()
    pieces = list(spans(tensor, picks, among=among, limit=limit))
    axis = pieces[0][0]
    assert axis is not None
    assert torch.equal(torch.cat([gathered(tensor, picks, piece) for piece in pieces], axis), whole)
    for piece in pieces:
        made = gathered(tensor, picks, piece)
        assert made.numel() * 4 <= limit or made.shape[axis] == 1
        assert made.dtype == torch.float32


def test_a_tensor_without_axes_to_cut_is_one_piece() -> None:
    assert list(spans(torch.tensor(2.0), [])) == [(None, 0, 0)]
    assert float(gathered(torch.tensor(2.0), [], (None, 0, 0), dtype=torch.float64)) == 2
    assert list(spans(torch.zeros(5), [None], among=[])) == [(None, 0, 0)]


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
def test_rows_have_all_that_stands_at_an_entry(shape: tuple[int, ...]) -> None:
    tensor = torch.arange(float(np.prod(shape))).reshape(shape)
    for axis in range(len(shape)):
        rows = as_rows(tensor, axis)
        expected = [sorted(one.flatten().tolist()) for one in tensor.unbind(axis)]
        assert [sorted(row.tolist()) for row in rows] == expected
