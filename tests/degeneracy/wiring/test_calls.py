from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.degeneracy.wiring.calls import WRITTEN, Run, followed_run
from weightatlas.errors import SourceError


class Function(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.ones(3)), function

    def forward(self, inputs: torch.Tensor) -> object:
        return self.function(self, inputs)  # type: ignore[operator]


def run_of(function: object) -> Run:
    return followed_run(Function(function), torch.randn(2, 3))


def test_calls_say_what_they_take_and_make() -> None:
    run = run_of(lambda self, x: functional.relu(x * self.weight))
    assert [call.name for call in run.calls] == ["mul", "relu"]
    product, rectifier = run.calls
    assert [run.names.get(value) for _, value in product.taken] == [None, "weight"]
    assert product.made[0][1] == rectifier.taken[0][1]
    assert run.outputs == {rectifier.made[0][1]}


def test_what_is_written_into_is_another_value() -> None:
    def function(_: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        own = inputs + 1
        own.relu_()
        return own + 0

    added, rectifier, last = run_of(function).calls
    assert rectifier.taken[0][1] == added.made[0][1] != rectifier.made[0][1] == last.taken[0][1]


def test_what_shares_memory_with_it_changes_too() -> None:
    def function(_: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        own = inputs + 1
        own[:, 0].zero_()
        return own + 0

    run = run_of(function)
    spoilt = [call for call in run.calls if call.name == WRITTEN and call.made[0][1] == run.calls[-1].taken[0][1]]
    assert len(spoilt) == 1


def test_outputs_are_found_in_containers() -> None:
    run = run_of(lambda _, x: {"logits": x + 1, "others": [x * 2]})
    assert run.outputs == {call.made[0][1] for call in run.calls}


def test_hooks_are_gone_even_after_an_error() -> None:
    model = Function(lambda _, x: x @ x)
    with pytest.raises(SourceError, match="does not run"):
        followed_run(model, torch.randn(2, 3))
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_lists_that_are_filled_later_stay_as_they_were() -> None:
    def function(_: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        features = [inputs + 1]
        first = torch.cat(features, 1)
        features.append(first)
        return torch.cat(features, 1)

    first, second = (call for call in run_of(function).calls if call.name == "cat")
    assert (len(first.arguments[0]), len(second.arguments[0])) == (1, 2)
