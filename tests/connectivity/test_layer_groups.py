from __future__ import annotations

import torch
from torch import nn

from weightatlas.connectivity.layer_groups import in_order_of_calls, layer_groups
from weightatlas.evaluation.states import StateOutputs, own_tensors


class Crossed(nn.Module):
    """Calls its layers in another order than they are registered in."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.embedding = nn.Linear(3, 4)
        self.act = nn.ReLU()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens = self.embedding(inputs)
        tokens, _ = self.attention(tokens, tokens, tokens)
        answer: torch.Tensor = self.head(self.act(self.norm(tokens.mean(1) * self.scale)))
        return answer


def test_every_tensor_is_in_one_group_and_modules_without_any_are_left_out() -> None:
    model = Crossed()
    groups = layer_groups(model)
    assert "act" not in groups
    assert groups[""] == ("scale",)
    assert groups["norm"] == ("norm.running_mean", "norm.running_var")
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(name for name in own_tensors(model) if not name.endswith("tracked"))


def test_what_does_not_require_a_gradient_counts_and_what_is_tied_counts_once() -> None:
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(requires_grad=False)
    tied[1].weight = tied[0].weight
    assert layer_groups(tied) == {"0": ("0.weight", "0.bias"), "1": ("1.bias",)}


def test_the_order_is_that_of_calls_and_what_is_not_called_follows_its_neighbour() -> None:
    model = Crossed()
    batches = [(torch.randn(2, 5, 3), torch.zeros(2))]
    order = in_order_of_calls(StateOutputs(model), own_tensors(model), batches, layer_groups(model))
    assert order == ["", "embedding", "attention", "attention.out_proj", "norm", "head"]
    assert not any(module._forward_pre_hooks for module in model.modules())
