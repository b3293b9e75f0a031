from __future__ import annotations

import torch
from torch import nn

from weightatlas.degeneracy.accumulating.passes import Passes
from weightatlas.degeneracy.accumulating.rounding import GUESSED_UNITS, rounding


class Bound(nn.Module):
    """A network that knows one type only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.float())  # type: ignore[no-any-return]


def test_rounding_is_a_few_eps_behind_the_first_layer_and_none_before() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 4))
    data = [(torch.randn(16, 50), torch.zeros(16))]
    inputs, outputs = rounding(Passes(model, data), wants=lambda _: True, gradients=True)
    assert inputs["0"] == 0 == outputs["4"]
    eps = torch.finfo(torch.float32).eps
    assert all(0 < inputs[layer] < 4 * eps for layer in ("2", "4"))
    assert all(0 < outputs[layer] < 4 * eps for layer in ("0", "2"))


def test_rounding_is_guessed_where_a_network_cannot_run_in_float64() -> None:
    passes = Passes(Bound(), [(torch.randn(4, 3), torch.zeros(4))])
    inputs, outputs = rounding(passes, wants=lambda _: True, gradients=True)
    assert inputs["layer"] == outputs["layer"] == GUESSED_UNITS * torch.finfo(torch.float32).eps
