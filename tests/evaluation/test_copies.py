from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.copies import copied, in_precision


def test_a_copy_is_in_its_precision_without_gradients_and_shares_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    twin = copied(model, dtype=torch.float64)
    assert {tensor.dtype for tensor in twin.state_dict().values()} == {torch.float64, torch.int64}
    assert not any(each.requires_grad for each in twin.parameters())
    assert all(each.requires_grad and each.dtype == torch.float32 for each in model.parameters())
    with torch.no_grad():
        twin[0].weight.zero_()  # type: ignore[index]
    assert model.state_dict()["0.weight"].any()


def test_it_stays_in_its_own_where_none_is_asked_for() -> None:
    assert copied(nn.Linear(2, 3).half(), dtype=None).weight.dtype == torch.float16


def test_what_cannot_be_copied_says_so() -> None:
    model = nn.Linear(2, 3)
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(SourceError, match=r"Linear: the network cannot be copied: .*; measure it as it is"):
        copied(model, dtype=torch.float64)


def test_complex_numbers_stay_complex_in_another_precision() -> None:
    model = nn.Linear(2, 3)
    model.register_buffer("turn", torch.polar(torch.ones(2), torch.tensor([0.5, 2.0])))
    assert isinstance(model.turn, torch.Tensor)
    for dtype, wanted in ((torch.float64, torch.complex128), (torch.float32, torch.complex64)):
        twin = copied(model, dtype=dtype)
        assert isinstance(twin.turn, torch.Tensor)
        assert (twin.weight.dtype, twin.turn.dtype) == (dtype, wanted)
        assert torch.equal(twin.turn.to(torch.complex64), model.turn)
    assert in_precision(torch.zeros(1, dtype=torch.complex128), torch.float16).dtype == torch.complex64
    assert in_precision(torch.zeros(1, dtype=torch.int64), torch.float16).dtype == torch.int64
