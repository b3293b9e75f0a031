from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.copies import copied


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
