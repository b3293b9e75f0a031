from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.degeneracy.wired_networks import change, parameters_of
from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.heads import head_directions, head_pairs, shift_directions
from weightatlas.degeneracy.streams import streams

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
        if self.way == "grouped":
            mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
            return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
        if self.way == "expanded":
            shape = (len(keys), self.key_heads, repeats, *keys.shape[2:])
            keys, values = (
                one[:, :, None].expand(shape).reshape(len(keys), HEADS, *shape[3:]) for one in (keys, values)
            )
        elif repeats > 1:
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


@pytest.mark.parametrize("way", ["torch's", "grouped", "expanded"])
def test_heads_of_queries_that_share_keys_move_together(way: str) -> None:
    torch.manual_seed(0)
    model, inputs = Attention(way, key_heads=1).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert {key: len(value) for key, value in found.items()} == {"query-key": 16, "value-output": 16, "shifts": 8}
    pair = next(one for one in head_pairs(model, inputs) if one.kind == "query-key")
    assert len(pair.queries) == 2


class Llama(nn.Module):
    """Four heads of queries and two of keys and values, whose queries and keys are rotated if that is wanted."""

    def __init__(self, *, rotates: bool) -> None:
        super().__init__()
        self.rotates = rotates
        self.queries, self.output = nn.Linear(6, 8), nn.Linear(8, 3)
        self.keys, self.values = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        layers = (self.queries, self.keys, self.values)
        queries, keys, values = (layer(inputs).unflatten(2, (-1, 2)).transpose(1, 2) for layer in layers)
        if self.rotates:
            angle = torch.arange(inputs.shape[1], dtype=inputs.dtype)[:, None]
            queries, keys = (one * angle.cos() + one.roll(1, -1) * angle.sin() for one in (queries, keys))
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
        return self.output(mixed.transpose(1, 2).flatten(2)).flatten(1)  # type: ignore[no-any-return]


def test_nothing_but_heads_is_free_in_grouped_query_attention() -> None:
    torch.manual_seed(0)
    found = counts(Llama(rotates=False), [(torch.randn(40, 4, 6), torch.zeros(40))], conditional=False, curve=False)
    assert (found.heads, found.union, found.exact) == (2 * 4 + 2 * 4 + 2 * 2 + 2 * 2, 24, 24)


def test_grouped_values_are_found_where_queries_are_not() -> None:
    torch.manual_seed(0)
    model, inputs = Llama(rotates=True).double(), torch.randn(2, 4, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert {key: len(value) for key, value in found.items()} == {"query-key": 0, "value-output": 8, "shifts": 4}


class Fused(nn.Module):
    """Queries, keys and values of one layer, taken apart as timm and transformers do."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.fused, self.output = nn.Linear(6, 3 * WIDTH), nn.Linear(WIDTH, 3)
        self.weight, self.bias = nn.Parameter(torch.randn(6, 3 * WIDTH)), nn.Parameter(torch.randn(3 * WIDTH))

    def parts(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.way == "Conv1D":
            flat = torch.addmm(self.bias, inputs.reshape(-1, inputs.shape[-1]), self.weight)
            fused = flat.view(*inputs.shape[:-1], 3 * WIDTH)
            thirds: tuple[torch.Tensor, ...] = torch.split(fused, WIDTH, dim=2)
            return tuple(one.reshape(*one.shape[:2], HEADS, -1).transpose(1, 2) for one in thirds)
        fused = self.fused(inputs)
        if self.way == "unbind":
            return fused.reshape(*inputs.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)  # type: ignore[no-any-return]
        if self.way == "getitem":
            both = fused.view(*inputs.shape[:2], HEADS, 3, -1).permute(3, 0, 2, 1, 4)  # a head's three are side by side
            return both[0], both[1], both[2]
        return tuple(one.unflatten(2, (HEADS, -1)).transpose(1, 2) for one in fused.chunk(3, dim=-1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        queries, keys, values = self.parts(inputs)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", ["unbind", "chunk", "getitem", "Conv1D"])
def test_queries_keys_and_values_of_one_layer(way: str) -> None:
    torch.manual_seed(0)
    model, inputs = Fused(way).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = directions_of(model, inputs)
    assert {key: len(value) for key, value in found.items()} == {
        "query-key": 2 * 16,
        "value-output": 2 * 16,
        "shifts": 2 * 8,
    }
    everything = [one for several in found.values() for one in several]
    assert rank_of(model, everything) == len(everything) == 80


class Masked(nn.Module):
    """One head, whose values may have nobody to look at them, or whose parameters do more than one thing."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.queries, self.keys, self.values = (nn.Linear(6, 4) for _ in range(3))
        self.output = nn.Linear(4, 3)

    def mask(self, inputs: torch.Tensor) -> torch.Tensor | None:
        whole = torch.ones(5, 5, dtype=torch.bool)
        if self.way in {"strict", "added strict"}:
            mask = whole.tril(-1)  # nothing is left for the first query
            return mask if self.way == "strict" else torch.zeros(5, 5).to(inputs).masked_fill(~mask, -torch.inf)
        if self.way == "given":
            return (inputs[..., :1] > -9).expand(-1, -1, 5)
        if self.way in {"lower", "added"}:
            mask = whole.tril()
            return mask if self.way == "lower" else torch.zeros(5, 5).to(inputs).masked_fill(~mask, -torch.inf)
        return torch.full((5, 5), -1e9).to(inputs) if self.way == "far" else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        queries, keys, values = self.queries(inputs), self.keys(inputs), self.values(inputs)
        dropped = 0.5 if self.way == "dropped" else 0.0
        mixed = functional.scaled_dot_product_attention(queries, keys, values, self.mask(inputs), dropped)
        if self.way == "both ways":
            mixed = mixed + functional.scaled_dot_product_attention(keys, queries, values)
        answer: torch.Tensor = self.output(mixed)
        return answer * self.output.bias if self.way == "bias again" else answer


@pytest.mark.parametrize(
    ("way", "shifts"),
    [
        *(("plain", 8), ("lower", 8), ("added", 8), ("far", 8)),
        *(("strict", 4), ("added strict", 4), ("given", 4), ("dropped", 4), ("bias again", 4)),
        ("both ways", 0),  # values go into a sum, and keys are queries too
    ],
)
def test_biases_are_free_only_where_nothing_else_hangs_on_them(way: str, shifts: int) -> None:
    torch.manual_seed(0)
    model, inputs = Masked(way).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    found = [pair for pair in head_pairs(model, inputs) if pair.skipped is None]
    assert sum(pair.shifts for pair in found) == shifts
    for pair in found if way != "dropped" else ():
        own = [*head_directions(parameters_of(model), pair), *shift_directions(parameters_of(model), pair)]
        assert max(change(model, inputs, one) for one in own) < 1e-12


@pytest.mark.parametrize(
    ("options", "shifts"),
    [
        ({"attn_mask": torch.ones(5, 5).triu(1).bool()}, 16),
        ({"attn_mask": torch.ones(5, 5).triu().bool()}, 8),
        ({"key_padding_mask": torch.tensor([[False] * 4 + [True]] * 2)}, 16),
        ({"key_padding_mask": torch.tensor([[True] * 5, [False] * 5])}, 8),
        ({"attn_mask": torch.eye(5).bool(), "key_padding_mask": torch.tensor([[False] + [True] * 4] * 2)}, 8),
    ],
)
def test_masks_of_torchs_own_module(options: dict[str, torch.Tensor], shifts: int) -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    inputs = torch.randn(2, 5, WIDTH, dtype=torch.float64)

    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = model
            for name, one in options.items():
                self.register_buffer(name, one)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            masks = {name: getattr(self, name) for name in options}
            return self.attention(inputs, inputs, inputs, need_weights=False, **masks)[0]  # type: ignore[no-any-return]

    assert len(directions_of(Holding(), inputs)["shifts"]) == shifts


@pytest.mark.parametrize("padding", ["data", "constant"])
def test_padding_that_the_data_say_may_hide_all_keys(padding: str) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            mask = inputs[..., 0] > 9 if padding == "data" else torch.zeros(inputs.shape[:2], dtype=torch.bool)
            return self.attention(inputs, inputs, inputs, key_padding_mask=mask, need_weights=False)[0]  # type: ignore[no-any-return]

    model, inputs = Padded().double(), torch.randn(2, 5, WIDTH, dtype=torch.float64)
    assert len(directions_of(model, inputs)["shifts"]) == (8 if padding == "data" else 16)


class Odd(nn.Module):
    """What looks linear between two layers and is not."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.second = nn.Linear(6, 3), nn.Linear(3, 2)
        self.register_buffer("counted", torch.arange(3))

    def between(self, values: torch.Tensor) -> torch.Tensor:
        ways = {
            "square": lambda: values * values,
            "ratio": lambda: values / values,
            "rounded": lambda: values.to(torch.int64).to(values.dtype),
            "typed": lambda: values.type(torch.int32).type_as(values),
            "bytes": lambda: values.view(torch.int64).view(values.dtype),
            "inverse": lambda: 1.0 / values,
            "floor": lambda: torch.div(values, 2, rounding_mode="floor"),
        }
        return ways[self.way]()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self.first(inputs)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", ["square", "ratio", "rounded", "typed", "bytes", "inverse", "floor"])
def test_what_looks_linear_and_is_not(way: str) -> None:
    torch.manual_seed(0)
    model, inputs = Odd(way).double(), torch.randn(2, 6, dtype=torch.float64)
    assert not [one for one in streams(model, inputs).streams if one.skipped is None]
    assert not [one for one in head_pairs(model, inputs) if one.skipped is None]


class Vectors(nn.Module):
    """Products of values that are no matrices."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.second, self.vector = nn.Linear(6, 4), nn.Linear(6, 4), nn.Parameter(torch.randn(4))
        self.last = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first, second = self.first(inputs), self.second(inputs)
        ways = {
            "two": lambda: first * (first[0, 0] @ second[0, 0]),
            "before": lambda: (inputs[0, :, 0] @ first[0]).expand(first.shape),
            "behind": lambda: (first @ second[0, 0])[..., None] + second,
            "parameter": lambda: (self.vector @ first)[:, None] + second,
        }
        return self.last(ways[self.way]())  # type: ignore[no-any-return]


@pytest.mark.parametrize("way", ["two", "before", "behind", "parameter"])
def test_products_with_vectors_are_no_attention(way: str) -> None:
    torch.manual_seed(0)
    pairs = head_pairs(Vectors(way).double(), torch.randn(2, 4, 6, dtype=torch.float64))
    assert not [pair for pair in pairs if pair.skipped is None]


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
