from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.nn.conversion.modules import copied, described, model_name, refuse_what_cannot_change, replaced


def test_a_module_is_replaced_at_every_place_and_the_model_itself_can_be() -> None:
    old, new = nn.ReLU(), nn.Tanh()
    model = nn.ModuleDict({"a": old, "b": nn.Sequential(old, nn.Linear(2, 2)), "c": nn.ModuleList([old])})
    assert replaced(model, {old: new}) is model
    assert [module for module in model.modules() if isinstance(module, nn.ReLU)] == []
    assert [path for path, module in model.named_modules(remove_duplicate=False) if module is new] == [
        "a",
        "b.0",
        "c.0",
    ]
    assert replaced(old, {old: new}) is new


def test_what_cannot_be_copied_says_how_to_go_on() -> None:
    model = nn.Linear(2, 2)
    model.answer = model(torch.zeros(1, 2))
    with pytest.raises(SourceError, match="in_place=True"):
        copied(model)


def test_a_model_is_described_and_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv1d(3, 8, 3), nn.LayerNorm(8))
    assert described(model) == "two convolutions, one batch norm and one layer norm"
    assert described(nn.ReLU()) == "no layer that is known"
    assert model_name(model) == "Sequential"


def test_a_lazy_layer_that_was_built_is_a_layer() -> None:
    model = nn.Sequential(nn.LazyConv2d(8, 3))
    with pytest.raises(SourceError, match="one layer of it is not built yet"):
        refuse_what_cannot_change(model)
    model(torch.zeros(1, 3, 5, 5))
    refuse_what_cannot_change(model)
