from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from weightatlas.degeneracy.rectified import rectified_layers
from weightatlas.degeneracy.wiring.trial import disproved

INPUTS = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))


class Centred(nn.Module):
    """A perceptron that writes into its inputs first."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            self.hidden, self.out = nn.Linear(5, 6, dtype=dtype), nn.Linear(6, 2, dtype=dtype)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        inputs -= inputs.mean(1, keepdim=True) + 1
        return self.out(torch.relu(self.hidden(inputs)))  # type: ignore[no-any-return]


def test_a_network_that_writes_into_its_inputs_is_tried_on_what_it_was_given() -> None:
    (layer,) = rectified_layers(Centred(), INPUTS.clone())
    assert layer.skipped is None
    assert len(layer.consumers) == 1


def test_units_that_something_else_reads_are_found_out() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    (layer,) = rectified_layers(model, INPUTS)
    assert disproved(model, INPUTS, (layer,), seed=0) == frozenset()
    blind = replace(layer, consumers=())  # as if the walk had overlooked the layer that reads
    assert disproved(model, INPUTS, (blind,), seed=0) == {"0.weight"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_of_few_digits_are_tried_in_many(dtype: torch.dtype) -> None:
    (layer,) = rectified_layers(Centred(dtype), INPUTS.to(dtype))
    assert layer.skipped is None
