from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import walk_of
from weightatlas.anatomy.graph.paths import Paths
from weightatlas.anatomy.graph.residual_branches import heads_in, sums_in

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS = (2, 5, 8)


class Block(nn.Module):
    """Two layers with an activation between them, or a single one."""

    def __init__(self, units: int, width: int = 8) -> None:
        super().__init__()
        self.up = nn.Linear(width, units)
        self.down = nn.Linear(units, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.down(functional.gelu(self.up(x))))


def paths_of(call: Callable[..., Any], **layers: nn.Module) -> Paths:
    return Paths(walk_of(call, TOKENS, **layers))


def test_blocks_that_add_to_one_stream_are_parallel() -> None:
    blocks = nn.ModuleList([Block(6), Block(4), Block(5)])

    def call(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        for block in self.blocks:
            x = x + block(x)
        return x

    (found,) = sums_in(paths_of(call, blocks=blocks))
    assert (found.layer, found.kind, found.units) == ("blocks", "sum", 15)
    assert found.names == ("block 0", "block 1", "block 2")
    assert found.labels.tolist() == [0] * 6 + [1] * 4 + [2] * 5
    assert [branch.layers for branch in found.branches] == [(f"blocks.{n}.up", f"blocks.{n}.down") for n in range(3)]
    assert [branch.bottleneck for branch in found.branches] == [6, 4, 5]


def test_the_order_of_the_operands_does_not_matter_and_a_layer_alone_is_no_block() -> None:
    def call(self: Any, x: torch.Tensor) -> Any:  # noqa: ANN401
        x = self.first(x) + x
        x = x + self.alone(x)
        return self.second(x) + x

    (found,) = sums_in(paths_of(call, first=Block(6), alone=nn.Linear(8, 8), second=Block(4)))
    assert [branch.layer for branch in found.branches] == ["first.up", "second.up"]


def test_two_paths_that_meet_without_a_shortcut_are_blocks_of_one_stream() -> None:
    (found,) = sums_in(paths_of(lambda self, x: self.left(x) + self.right(x), left=Block(6), right=Block(3)))
    assert (found.layer, found.names, found.units) == ("stream", ("left", "right"), 9)


def test_streams_of_several_stages_are_kept_apart_by_their_blocks() -> None:
    narrow, wide = [Block(6), Block(4)], [Block(5, 10), Block(3, 10)]

    def call(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        for place, block in enumerate(self.blocks):
            x = self.grow(x) if place == 2 else x
            x = x + block(x)
        return x

    first, second = sums_in(paths_of(call, blocks=nn.ModuleList([*narrow, *wide]), grow=nn.Linear(8, 10)))
    assert (first.layer, first.units) == ("blocks.0-1", 10)
    assert (second.layer, second.units) == ("blocks.2-3", 8)
    assert second.names == ("block 2", "block 3")


def test_one_block_stands_beside_nothing() -> None:
    assert sums_in(paths_of(lambda self, x: x + self.block(x), block=Block(6))) == []
    assert sums_in(paths_of(lambda self, x: self.block(x), block=Block(6))) == []


class Attention(nn.Module):
    """Attention of two heads by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return torch.as_tensor(self.out(mixed.transpose(1, 2).reshape(2, 5, 8)))


def test_where_attention_adds_to_the_stream_its_other_blocks_are_mlps() -> None:
    def call(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        for attention, mlp in zip(self.attention, self.mlp, strict=True):
            x = x + attention(x)
            x = x + mlp(x)
        return x

    layers = {"attention": nn.ModuleList([Attention(), Attention()]), "mlp": nn.ModuleList([Block(6), Block(5)])}
    paths = paths_of(call, **layers)
    (found,) = sums_in(paths)
    assert (found.kind, found.units, [branch.layer for branch in found.branches]) == (
        "mlp",
        11,
        ["mlp.0.up", "mlp.1.up"],
    )
    heads = heads_in(paths)
    assert [one.layer for one in heads] == ["attention.0.qkv", "attention.1.qkv"]
    for one in heads:
        assert (one.kind, one.units, one.names) == ("heads", 8, ("head 1", "head 2"))
        assert [branch.rows.tolist() for branch in one.branches] == [[16, 17, 18, 19], [20, 21, 22, 23]]
        np.testing.assert_array_equal(np.concatenate([branch.units for branch in one.branches]), np.arange(8))


def test_a_single_head_divides_nothing() -> None:
    layer = nn.Linear(8, 8)
    paths = paths_of(lambda self, x: functional.scaled_dot_product_attention(x, x, self.value(x)), value=layer)
    assert len(paths.walk.attention) == 1
    assert heads_in(paths) == []
