from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.symmetries.example_networks import found_in, reasons, sizes

CONVOLUTION = nn.Conv2d


@pytest.mark.parametrize(
    ("layer", "width", "groups"),
    [
        (CONVOLUTION(8, 6, 3), 6, {"0": 8, "1": 6}),
        (CONVOLUTION(8, 8, 3, groups=8), 8, {"0": 8}),
        (CONVOLUTION(8, 24, 3, groups=8), 24, {"0": 8, "1/1": 3}),
        (CONVOLUTION(8, 12, 3, groups=4), 12, {"0/0": 4, "0/1": 2, "1/1": 3}),
        (nn.ConvTranspose2d(8, 6, 3), 6, {"0": 8, "2:1": 6}),
        (nn.ConvTranspose2d(8, 12, 3, groups=4), 12, {"0/0": 4, "0/1": 2, "2:1/1": 3}),
    ],
)
def test_a_convolution_has_classes_of_its_inputs_and_outputs_group_by_group(
    layer: nn.Module, width: int, groups: dict[str, int]
) -> None:
    found = found_in(nn.Sequential(CONVOLUTION(3, 8, 1), layer, nn.ReLU(), CONVOLUTION(width, 2, 1)), 2, 3, 6, 6)
    assert sorted(sizes(found).values()) == sorted(groups.values())
    assert not reasons(found)


def test_matrices_read_as_they_are_stored_or_turned() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        hidden = torch.addmm(self.bias, given, self.into)
        return torch.as_tensor(functional.relu(hidden) @ self.back.T)

    shapes = {"bias": (6,), "into": (4, 6), "back": (3, 6)}
    weights = {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    found = found_in(call, 2, 4, **weights)
    (group,) = found.groups
    assert {(at.tensor, at.axis) for at in group.axes} == {("bias", 0), ("into", 1), ("back", 1)}


def test_an_equation_and_a_matrix_for_each_head() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        heads = torch.einsum("bnd, hde -> bhne", self.embed(given), self.heads)
        return torch.as_tensor(self.last(heads.mean(2).flatten(1)))

    heads = nn.Parameter(torch.randn(3, 8, 5))
    found = found_in(call, 2, 5, 4, heads=heads, embed=nn.Linear(4, 8), last=nn.Linear(15, 2))
    assert sizes(found) == {"heads": 3, "embed": 8, "heads:2": 5}
    assert str(found.layouts["last.weight"][1]) == "[heads] × [heads:2]"


def test_a_weight_used_twice_and_one_that_reads_its_own_units() -> None:
    back = found_in(lambda self, x: functional.relu(self.a(x)) @ self.a.weight, 2, 4, a=nn.Linear(4, 6))
    assert sizes(back) == {"a": 6}
    own = found_in(lambda self, x: self.a(functional.relu(self.a(x))), 2, 4, a=nn.Linear(4, 4))
    assert not own.groups, "its units are the model's inputs"


def test_packed_attention_shares_heads_and_lets_queries_and_values_move_apart() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    found = found_in(
        lambda self, x: self.last(self.attention(self.first(x), self.first(x), self.first(x))[0]),
        2, 5, 4, first=nn.Linear(4, 8), attention=attention, last=nn.Linear(8, 3),
    )  # fmt: skip
    assert sorted(sizes(found).values()) == [2, 4, 4, 8, 8]
    heads, queries, values = (f"attention.in_proj_weight/{place}" for place in range(3))
    both = f"[{heads}] × [{queries}] + [{heads}] × [{queries}] + [{heads}] × [{values}]"
    assert str(found.layouts["attention.in_proj_weight"][0]) == both
    assert str(found.layouts["attention.out_proj.weight"][1]) == f"[{heads}] × [{values}]"


def test_grouped_queries_move_within_the_heads_that_share_a_key() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        query, key, value = (layer(given).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        heads = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True, is_causal=True)
        return torch.as_tensor(self.out(heads.transpose(1, 2).flatten(2)))

    layers = {"q": nn.Linear(5, 24), "k": nn.Linear(5, 8), "v": nn.Linear(5, 8), "out": nn.Linear(24, 3)}
    found = found_in(call, 2, 6, 5, **layers)
    assert sorted(sizes(found).values()) == [2, 3, 4, 4]
    assert str(found.layouts["q.weight"][0]) == "[q/0] × [q/1] × [q/2]"
    assert str(found.layouts["out.weight"][1]) == "[q/0] × [q/1] × [v/1]"


def test_symbols_stay_and_their_features_move_in_tied_matrices_too() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 4)
            self.head = nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            symbols = (features > 0).long().sum(-1)
            return torch.as_tensor(self.head(self.embed(symbols)))

    found = found_in(Tied(), 2, 3, 6)
    (group,) = found.groups
    assert {(at.tensor, at.axis) for at in group.axes} == {("embed.weight", 1), ("head.weight", 1)}
    assert reasons(found) == {"its rows stand for symbols or positions"}
    assert found.coverage == 1
