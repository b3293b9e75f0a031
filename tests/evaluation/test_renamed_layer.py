from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation import load_checkpoint


def network(head: str, *, units: int = 3, bias: bool = True) -> nn.Sequential:
    made = nn.Sequential()
    made.add_module("conv", nn.Conv2d(1, 4, 3))
    made.add_module(head, nn.Linear(4, units, bias=bias))
    return made


def test_a_classifier_of_another_name_is_loaded_and_said() -> None:
    saved, model = network("linear"), network("fc")
    report = load_checkpoint(model, saved)
    assert torch.equal(model.get_parameter("fc.weight"), saved.get_parameter("linear.weight"))
    assert report.complete
    assert "'linear' was taken for 'fc'" in report.notes


@pytest.mark.parametrize(
    "saved",
    [
        network("linear", units=5),
        network("linear", bias=False),
        nn.Sequential(),
    ],
    ids=["another shape", "another parameter", "nothing"],
)
def test_what_is_not_alike_is_not_taken(saved: nn.Sequential) -> None:
    saved.add_module("conv", nn.Conv2d(1, 4, 3)) if not len(saved) else None
    with pytest.raises(SourceError, match="lacks two tensors"):
        load_checkpoint(network("fc"), saved)


def test_of_two_layers_none_is_guessed() -> None:
    saved, model = network("linear"), network("fc")
    saved.add_module("other", nn.Linear(4, 3))
    with pytest.raises(SourceError, match="lacks two tensors"):
        load_checkpoint(model, saved)
