from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from weightatlas.degeneracy import counts, interaction_basis
from weightatlas.evaluation.outputs import output_tensor
from weightatlas.evaluation.scoring import logits_of

ANSWER, AUX = torch.ones(4, 3), torch.zeros(4, 5)


@pytest.mark.parametrize(
    "output",
    [
        ANSWER,
        {"aux": AUX, "logits": ANSWER},
        {"aux": AUX, "out": ANSWER},
        {"out": AUX, "logits": ANSWER},
        {"logits": None, "out": ANSWER},
        SimpleNamespace(aux=AUX, logits=ANSWER),
    ],
)
def test_the_answer_is_one_tensor_wherever_it_stands(output: object) -> None:
    assert output_tensor(output) is ANSWER
    assert logits_of(output, torch.zeros(4, dtype=torch.int64)) is ANSWER


@pytest.mark.parametrize("output", [None, (ANSWER, AUX), {"aux": AUX}, SimpleNamespace(logits=3)])
def test_other_things_have_no_answer(output: object) -> None:
    assert output_tensor(output) is None


class Named(nn.Module):
    """Gives its answer second."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.aux, self.head = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.tanh(self.body(inputs))
        return {"aux": self.aux(hidden), "logits": self.head(hidden)}


def test_counts_and_bases_are_of_the_same_answer() -> None:
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    data = [(inputs, torch.zeros(20, dtype=torch.int64))]
    assert counts(Named(), data, exact=False).outputs == 3
    assert interaction_basis(Named(), data, ["head", "output"])["output"].width == 3
