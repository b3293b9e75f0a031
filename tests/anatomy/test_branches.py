from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.anatomy import describe_model, describe_tensors
from weightatlas.anatomy.branches import branches, grouped_branches

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.checkpoints import TensorInfo

IMAGES = torch.zeros(1, 3, 16, 16)


class Inception(nn.Module):
    """Paths of 1x1, 3x3 and 5x5 kernels and a pool, and what the concatenation of them does."""

    def __init__(self, *, middle: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.mixed3a_1x1 = nn.Conv2d(6, 4, 1)
        self.mixed3a_3x3_bottleneck = nn.Conv2d(6, 2, 1)
        self.mixed3a_3x3 = nn.Conv2d(2, 8, 3, padding=1)
        self.mixed3a_5x5_bottleneck = nn.Conv2d(6, 3, 1)
        self.mixed3a_5x5 = nn.Conv2d(3, 5, middle, padding=middle // 2)
        self.mixed3a_pool_reduce = nn.Conv2d(6, 3, 1)
        self.head = nn.Conv2d(20, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images).relu()
        small = self.mixed3a_3x3(self.mixed3a_3x3_bottleneck(x).relu())
        large = self.mixed3a_5x5(self.mixed3a_5x5_bottleneck(x).relu())
        pooled = self.mixed3a_pool_reduce(nn.functional.max_pool2d(x, 3, 1, 1))
        return torch.as_tensor(self.head(torch.cat([self.mixed3a_1x1(x), small, large, pooled], 1).relu()))


def test_inception_s_paths_in_the_order_of_concatenation() -> None:
    (found,) = branches(Inception(), IMAGES)
    assert (found.layer, found.kind, found.units) == ("mixed3a", "concatenation", 20)
    assert found.names == ("1x1", "3x3", "5x5", "pool")
    assert found.labels.tolist() == [0] * 4 + [1] * 8 + [2] * 5 + [3] * 3
    small = found.branches[1]
    assert (small.layer, small.layers) == ("mixed3a_3x3", ("mixed3a_3x3_bottleneck", "mixed3a_3x3"))
    assert (small.kernel, small.bottleneck, small.units.tolist()) == ((3, 3), 2, [*range(4, 12)])
    assert small.rows.tolist() == [*range(8)]
    assert (found.branches[0].bottleneck, found.note) == (None, "")


def test_two_paths_of_one_kernel_go_by_their_modules() -> None:
    (found,) = branches(Inception(middle=3), IMAGES)
    assert found.names == ("mixed3a_1x1", "mixed3a_3x3", "mixed3a_5x5", "mixed3a_pool_reduce")


class Joining(nn.Module):
    """Two convolutions and a function that joins them."""

    def __init__(self, join: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor], channels: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 1)
        self.join = join
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.head(self.join(images, self.left(images), self.right(images))))


def test_what_is_passed_on_is_no_branch() -> None:
    network = Joining(lambda images, left, right: torch.cat([left, images, right], 1), 11)
    (found,) = branches(network, IMAGES)
    assert found.labels.tolist() == [0] * 4 + [-1] * 3 + [1] * 4
    assert found.note == "3 of its units are passed on from before the paths, or made by several layers"


def test_a_concatenation_in_a_concatenation_is_taken_apart() -> None:
    network = Joining(lambda images, left, right: torch.cat([images, torch.cat([left, right], 1)], 1), 11)
    (found,) = branches(network, IMAGES)
    assert found.labels.tolist() == [-1] * 3 + [0] * 4 + [1] * 4
    network = Joining(lambda images, left, right: torch.cat([images, torch.cat([left, right], 1).relu()], 1), 11)
    (found,) = branches(network, IMAGES)
    assert found.labels.tolist() == [0] * 4 + [1] * 4, "read through an activation, it stands for itself"


def test_a_dense_block_and_a_plain_network_have_no_parallel_paths() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(3 + 2 * index, 2, 3, padding=1) for index in range(3))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                images = torch.cat([images, layer(images)], 1)
            return images

    assert branches(Dense(), IMAGES) == ()
    assert branches(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4)), IMAGES) == ()
    one_unit = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Conv2d(1, 1, 1))
    assert branches(one_unit, IMAGES) == ()


def test_groups_branch_their_own_units_and_those_that_feed_them() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1, groups=2), nn.Conv2d(4, 6, 1, groups=2)
    )
    second, first, third = branches(network, IMAGES)
    assert [(one.layer, one.reader, one.kind) for one in (first, second, third)] == [
        ("0", "3", "groups"), ("3", None, "groups"), ("4", None, "groups"),
    ]  # fmt: skip
    assert first.labels.tolist() == [0] * 4 + [1] * 4
    assert third.names == ("group 1", "group 2")


def test_shuffled_groups_take_every_other_unit() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ChannelShuffle(4), nn.Conv2d(8, 4, 1, groups=2))
    _, feeding = branches(network, IMAGES)
    assert feeding.labels.tolist() == [0, 1] * 4


class Residual(nn.Module):
    """A stem and blocks of two layers; the first of them with a projection."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.shortcut = nn.Conv2d(4, 6, 1)
        self.conv1 = nn.ModuleList(nn.Conv2d(6 if place else 4, 5 + place, 3, padding=1) for place in range(blocks))
        self.conv2 = nn.ModuleList(nn.Conv2d(5 + place, 6, 3, padding=1) for place in range(blocks))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stream = self.stem(images).relu()
        for place, (first, second) in enumerate(zip(self.conv1, self.conv2, strict=True)):
            change = second(first(stream).relu())
            stream = ((stream if place else self.shortcut(stream)) + change).relu()
        return torch.as_tensor(stream)


def test_residual_blocks_are_branches_of_one_stream_by_their_hidden_units() -> None:
    (found,) = branches(Residual(3), IMAGES)
    assert (found.layer, found.kind, found.units) == ("conv1", "sum", 5 + 6 + 7)
    assert found.names == ("block 0", "block 1", "block 2")
    assert found.labels.tolist() == [0] * 5 + [1] * 6 + [2] * 7
    assert found.branches[1].layers == ("conv1.1", "conv2.1")
    assert branches(Residual(1), IMAGES) == (), "a single block stands beside nothing"


def test_heads_divide_the_rows_of_the_values_and_mlps_a_stream() -> None:
    block: dict[str, Any] = {"batch_first": True, "dim_feedforward": 12}
    network = nn.Sequential(*(nn.TransformerEncoderLayer(8, 2, **block) for _ in range(2)))
    mlp, *heads = branches(network, torch.zeros(1, 5, 8))
    assert (mlp.kind, mlp.units, mlp.names) == ("mlp", 24, ("block 0", "block 1"))
    assert [branch.layer for branch in mlp.branches] == ["0.linear1", "1.linear1"]
    assert [(one.layer, one.kind, one.units) for one in heads] == [
        ("0.self_attn", "heads", 8),
        ("1.self_attn", "heads", 8),
    ]
    assert [branch.rows.tolist() for branch in heads[0].branches] == [[16, 17, 18, 19], [20, 21, 22, 23]]
    assert heads[0].names == ("head 1", "head 2")


def test_cross_attention_counts_rows_in_the_matrix_as_it_is_stored() -> None:
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> Any:  # noqa: ANN401
            return self.attention(queries, keys, keys, need_weights=False)[0]

    (heads,) = branches(Cross(), (torch.zeros(1, 3, 4), torch.zeros(1, 5, 4)))
    assert [branch.rows.tolist() for branch in heads.branches] == [[8, 9], [10, 11]]


@pytest.mark.parametrize("described", ["shapes", "modules"])
def test_groups_guessed_from_shapes_are_those_of_the_graph(
    described: str, headers: Callable[[nn.Module], list[TensorInfo]]
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 96, 11), nn.ReLU(), nn.Conv2d(96, 256, 5, groups=2), nn.Conv2d(256, 384, 3))
    layers = describe_tensors(headers(network)) if described == "shapes" else describe_model(network)
    guessed = grouped_branches(layers)
    exact = branches(network, torch.zeros(1, 3, 24, 24))
    assert [(one.layer, one.reader) for one in guessed] == [(one.layer, one.reader) for one in exact]
    for ours, theirs in zip(guessed, exact, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.names == theirs.names
        assert "guessed" in ours.note


def test_no_groups_are_guessed_where_there_are_none() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    assert grouped_branches(describe_model(network)) == ()
    assert grouped_branches([]) == ()
