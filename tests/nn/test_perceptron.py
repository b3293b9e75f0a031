from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.evaluation import open_model
from weightatlas.nn import Perceptron

SIZES: dict[str, Any] = {"inputs": 12, "hidden": 8, "layers": 2, "classes": 3, "tasks": 2}


def weight(model: nn.Module, layer: str) -> torch.Tensor:
    return model.get_parameter(f"{layer}.weight")


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_it_is_a_plain_row_of_layers() -> None:
    model = Perceptron(inputs=12, hidden=8, layers=3, classes=5, seed=1)
    plain = nn.Sequential(*model.children())
    inputs = noise(4, 3, 2, 2)
    assert torch.equal(model(inputs), plain(inputs))
    assert [name for name, _ in model.named_children()] == [
        "flatten",
        "hidden1",
        "relu1",
        "hidden2",
        "relu2",
        "hidden3",
        "relu3",
        "classifier",
    ]


def test_the_published_network_by_name() -> None:
    model = open_model("weightatlas:perceptron?inputs=3072&hidden=100&layers=2")
    widths = [tuple(module.weight.shape) for module in model.modules() if isinstance(module, nn.Linear)]
    assert widths == [(100, 3072), (100, 100), (10, 100)]
    assert all(before[0] == after[1] for before, after in pairwise(widths))
    assert open_model("weightatlas:perceptron?bias=false").get_submodule("hidden1").bias is None


def test_tasks_of_a_modular_network_do_not_touch() -> None:
    model = Perceptron(**SIZES, modular=True)
    inputs = noise(6, 12)
    other = inputs.clone()
    other[:, 6:] += 1
    before, after = model(inputs), model(other)
    assert before.shape == (6, 3, 2)
    assert torch.equal(before[:, :, 0], after[:, :, 0])
    assert not torch.equal(before[:, :, 1], after[:, :, 1])
    mixed = Perceptron(**SIZES)
    assert not torch.equal(mixed(inputs)[:, :, 0], mixed(other)[:, :, 0])


def test_a_trained_modular_network_is_a_mixed_one_with_the_same_weights() -> None:
    modular, mixed = Perceptron(**SIZES, modular=True), Perceptron(**SIZES, seed=9)
    optimizer = torch.optim.AdamW(modular.parameters(), lr=0.1, weight_decay=0.1)
    inputs = noise(20, 12)
    targets = torch.arange(40).reshape(20, 2) % 3
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(modular(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    mixed.load_state_dict(modular.state_dict())
    assert torch.equal(mixed(inputs), modular(inputs))
    assert not weight(mixed, "hidden1")[:4, 6:].any()
    assert weight(mixed, "hidden1")[:4, :6].all()


def test_a_modular_network_begins_as_the_mixed_one_of_its_seed() -> None:
    modular, mixed = (Perceptron(**SIZES, modular=modular, seed=4) for modular in (True, False))
    assert torch.equal(weight(modular, "hidden2")[:4, :4], weight(mixed, "hidden2")[:4, :4])
    assert torch.equal(modular.get_parameter("hidden2.bias"), mixed.get_parameter("hidden2.bias"))


@pytest.mark.parametrize(
    ("more", "words"),
    [({"hidden": 0}, "1 or more"), ({"hidden": 7, "modular": True}, "multiples of 2 tasks"), ({"tasks": 0}, "1 or")],
)
def test_sizes_without_a_meaning_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Perceptron(**{**SIZES, **more})
