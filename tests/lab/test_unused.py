from __future__ import annotations

import torch
from torch import nn

from tests.lab.small_runs import convolutional, equal, images, with_auxiliary
from weightatlas.lab.unused import freeze_unused


def test_an_auxiliary_head_is_frozen_and_nothing_else() -> None:
    model = with_auxiliary()
    assert freeze_unused(model, images().batch(0, 2)) == ["aside.weight", "aside.bias"]
    assert {name for name, each in model.named_parameters() if not each.requires_grad} == {"aside.weight", "aside.bias"}


def test_a_network_without_one_stays_as_it_is_in_every_bit() -> None:
    model = nn.Sequential(convolutional(norm=True), nn.Dropout())
    before = torch.random.get_rng_state()
    assert freeze_unused(model, images().batch(0, 2)) == []
    assert torch.equal(torch.random.get_rng_state(), before)
    assert equal(model[0], convolutional(norm=True)), "batch norm saw nothing"
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_what_was_frozen_before_is_not_named() -> None:
    model = with_auxiliary()
    model.aside.weight.requires_grad = False
    assert freeze_unused(model, images().batch(0, 2)) == ["aside.bias"]
