from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.degeneracy.wired_networks import change, parameters_of
from weightatlas.degeneracy.heads import head_directions, head_pairs, shift_directions

WIDTH, HEADS = 8, 2


class Attention(nn.Module):
    """Attention over symbols, in one of the ways that people write it."""

    def __init__(self, way: str = "torch's", *, bias: bool = True, key_heads: int = HEADS) -> None:
        super().__init__()
        self.way, self.key_heads = way, key_heads
        narrow = WIDTH // HEADS * key_heads
        self.queries, self.keys = nn.Linear(6, WIDTH, bias=bias), nn.Linear(6, narrow, bias=bias)
        self.values, self.output = nn.Linear(6, narrow, bias=bias), nn.Linear(WIDTH, 3, bias=bias)
        self.norm = nn.LayerNorm(WIDTH // HEADS)

    def split(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(*values.shape[:2], -1, WIDTH // HEADS).transpose(1, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        queries, keys, values = (self.split(layer(inputs)) for layer in (self.queries, self.keys, self.values))
        if self.way == "normed":
            queries, keys = self.norm(queries), self.norm(keys)
        if self.way == "rotary":
            angle = torch.arange(inputs.shape[1], dtype=inputs.dtype)[:, None]
            queries, keys = (one * angle.cos() + one.roll(1, -1) * angle.sin() for one in (queries, keys))
        repeats = HEADS // self.key_heads
        if repeats > 1:
            keys, values = (one.repeat_interleave(repeats, dim=1) for one in (keys, values))
        if self.way in {"by hand", "scores given"}:
            scores = (queries / math.sqrt(WIDTH // HEADS)) @ keys.transpose(-2, -1)
            mixed = scores.softmax(-1) @ values
            if self.way == "scores given":
                return self.output(mixed.transpose(1, 2).flatten(2)) + scores.sum()  # type: ignore[no-any-return]
        else:
            mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Packed(nn.Module):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - torch's own
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options)
        if self.attention.in_proj_bias is not None:
            nn.init.normal_(self.attention.in_proj_bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values = inputs[..., : self.attention.vdim]
        return self.attention(inputs, inputs[..., : self.attention.kdim], values)[0]  # type: ignore[no-any-return]


def directions_of(model: nn.Module, inputs: torch.Tensor) -> dict[str, list[dict[str, torch.Tensor]]]:
    """All directions by kind, shifts by themselves, each checked."""
    found: dict[str, list[dict[str, torch.Tensor]]] = {"shifts": []}
    parameters = parameters_of(model)
    for pair in head_pairs(model, inputs[:2]):
        own = list(head_directions(parameters, pair))
        shifts = list(shift_directions(parameters, pair))
        assert (len(own), len(shifts)) == (pair.directions, pair.shifts)
        assert all(change(model, inputs, one) < 1e-12 for one in (*own, *shifts))
        found.setdefault(pair.kind, []).extend(own)
        found["shifts"] += shifts
    return found


def rank_of(model: nn.Module, directions: list[dict[str, torch.Tensor]]) -> int:
    parameters = parameters_of(model)
    rows = [
        torch.cat([one.get(name, torch.zeros_like(value)).flatten() for name, value in parameters.items()])
        for one in directions
    ]
    return int(torch.linalg.matrix_rank(torch.stack(rows)))


@pytest.mark.parametrize("way", ["torch's", "by hand"])
@pytest.mark.parametrize("bias", [True, False])
def test_heads_times_twice_the_square_of_their_width(way: str, bias: bool) -> None:
    torch.manual_seed(0)
    model, inputs = Attention(way, bias=bias).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert {key: len(value) for key, value in found.items()} == {
        "query-key": 2 * 16,
        "value-output": 2 * 16,
        "shifts": 2 * 8 if bias and way == "torch's" else 0,
    }
    everything = [one for several in found.values() for one in several]
    assert rank_of(model, everything) == len(everything)


def test_heads_of_queries_that_share_keys_move_together() -> None:
    torch.manual_seed(0)
    model, inputs = Attention(key_heads=1).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert {key: len(value) for key, value in found.items()} == {"query-key": 16, "value-output": 16, "shifts": 8}
    pair = next(one for one in head_pairs(model, inputs) if one.kind == "query-key")
    assert len(pair.queries) == 2


def test_scores_that_are_used_otherwise_free_no_shift() -> None:
    torch.manual_seed(0)
    model, inputs = Attention("scores given").double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert (len(found["query-key"]), len(found["shifts"])) == (32, 0)


@pytest.mark.parametrize(("way", "words"), [("rotary", "a sum"), ("normed", "a layer norm")])
def test_what_stands_between_queries_and_keys_leaves_values_alone(way: str, words: str) -> None:
    torch.manual_seed(0)
    model, inputs = Attention(way).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert {key: len(value) for key, value in found.items()} == {"query-key": 0, "value-output": 32, "shifts": 8}
    skipped = [str(one.skipped) for one in head_pairs(model, inputs) if one.skipped is not None]
    assert skipped
    assert all(words in one for one in skipped)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"kdim": 5, "vdim": 7}, {"add_zero_attn": True}])
def test_torchs_own_module(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, inputs = Packed(**options).double(), torch.randn(2, 5, WIDTH, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert len(found["query-key"]) == len(found["value-output"]) == 32
    assert len(found["shifts"]) == (0 if options.keys() & {"bias", "add_zero_attn"} else 16)
    everything = [one for several in found.values() for one in several]
    assert rank_of(model, everything) == len(everything)


def test_keys_that_no_layer_makes() -> None:
    pairs = head_pairs(Packed(add_bias_kv=True).double(), torch.randn(2, 5, WIDTH, dtype=torch.float64))
    assert {one.skipped for one in pairs} == {"it attends to a key or a value that no layer makes"}
    assert sum(one.directions for one in pairs) == 0


def test_layers_without_attention_are_none() -> None:
    between = [nn.Dropout(), nn.ReLU(), nn.LayerNorm(3), nn.Softmax(-1)]
    for one in between:
        pairs = head_pairs(nn.Sequential(nn.Linear(5, 3), one, nn.Linear(3, 4)), torch.zeros(2, 5))
        assert sum(pair.directions for pair in pairs) == 0


def test_parameters_that_are_held_do_not_move() -> None:
    torch.manual_seed(0)
    model, inputs = Attention(), torch.randn(2, 5, 6)
    parameters = {name: one for name, one in parameters_of(model).items() if not name.startswith("keys")}
    kinds = {pair.kind for pair in head_pairs(model, inputs) if list(head_directions(parameters, pair))}
    assert kinds == {"value-output"}
    biasless = {name: one for name, one in parameters_of(model).items() if name != "output.bias"}
    assert not [
        one
        for pair in head_pairs(model, inputs)
        if pair.kind == "value-output"
        for one in shift_directions(biasless, pair)
    ]
