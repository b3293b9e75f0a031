from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.nn.conversion.networks import parts
from weightatlas.nn.conversion.meta_copy import meta_copy


def test_a_copy_without_values_keeps_what_is_shared() -> None:
    layer = nn.Linear(3, 3)
    model = parts(nn.Sequential(layer, layer, nn.BatchNorm1d(3)))
    model.table = {"a": [torch.ones(2)], "b": 1}
    copied = parts(meta_copy(model))
    assert copied[0] is copied[1]
    assert {one.device.type for one in (*copied.parameters(), *copied.buffers(), copied.table["a"][0])} == {"meta"}
    assert layer.weight.device.type == "cpu"
    assert copied(torch.zeros(2, 3, device="meta")).shape == (2, 3)


def test_one_parameter_under_two_names_stays_one() -> None:
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    copied = parts(meta_copy(model))
    assert copied[0].weight is copied[1].weight
    assert isinstance(copied[0].weight, nn.Parameter)


def test_shape_type_and_layout_stay() -> None:
    model = nn.Conv2d(4, 8, 3).half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    copied = meta_copy(model)
    for mine, theirs in zip(copied.parameters(), model.parameters(), strict=True):
        assert (mine.shape, mine.dtype, mine.stride()) == (theirs.shape, theirs.dtype, theirs.stride())


class Remembering(nn.Module):
    """It keeps what it answered last: a tensor with a history, which deepcopy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.last: list[tuple[Tensor, ...]] = []

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.layer(values)
        self.last = [(answer,)]
        return answer


def test_a_model_that_cannot_be_copied_itself_has_a_copy_without_values() -> None:
    model = Remembering()
    answer = model(torch.zeros(1, 3))
    copied = meta_copy(model)
    assert parts(copied).last[0][0].device.type == "meta"
    assert model.last[0][0] is answer


def test_a_run_of_the_copy_changes_nothing_of_the_model() -> None:
    model = nn.BatchNorm1d(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    meta_copy(model).train()(torch.zeros(4, 3, device="meta"))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
