from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.degeneracy.ranking import row_pieces
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.ranking.row_pieces import pieces

DATA = [(torch.arange(10.0)[start:end, None], torch.zeros(end - start)) for start, end in ((0, 4), (4, 5), (5, 10))]


@pytest.mark.parametrize(
    ("held", "ends", "group", "lengths"),
    [
        (100, [], 1, [4, 1, 5]),
        (2, [], 1, [2, 2, 1, 2, 2, 1]),
        (100, [1, 2, 8], 1, [1, 1, 2, 1, 3, 2]),
        (1, [], 3, [3, 3, 3, 1]),
        (100, [], 3, [3, 6, 1]),
    ],
)
def test_pieces_end_where_they_must(
    held: int, ends: list[int], group: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ParameterMap(nn.Linear(1, 3, bias=False))
    monkeypatch.setattr(row_pieces, "BYTES", 8 * 3 * 2 * held)
    found = list(pieces(DATA, network, 2, ends=ends, group=group))
    assert [len(inputs) for inputs, _ in found] == lengths
    assert torch.equal(torch.cat([inputs for inputs, _ in found])[:, 0], torch.arange(10.0))
    assert [seen for _, seen in found] == torch.tensor(lengths).cumsum(0).tolist()
