from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import along_channels, nodes_of, walk_of
from weightatlas.anatomy.graph.channel_ids import Channels, Unfollowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.anatomy.graph.channel_walk import Walk

    Call = Callable[..., torch.Tensor]

IMAGES = (2, 4, 6, 6)


def gates(walk: Walk) -> set[tuple[int, int]]:
    return {(int(gate), int(gated)) for pairs in walk.gates for gate, gated in pairs}


@pytest.mark.parametrize(
    "call",
    [
        lambda _, x: functional.avg_pool2d(x, 2),
        lambda _, x: functional.max_pool2d(x, 3, 2, 1),
        lambda _, x: functional.interpolate(x, scale_factor=2.0),
        lambda _, x: functional.group_norm(x, 2),
        lambda _, x: torch.erf(x) + 1,
        lambda _, x: x.pow(2).sum((2, 3), keepdim=True).sqrt(),
        lambda _, x: x.amax((2, 3)),
        lambda _, x: functional.pad(x, (1, 1, 2, 2)),
        lambda _, x: x.masked_fill(x > 0, 0.0),
        lambda _, x: x / x.norm(dim=1, keepdim=True),
    ],
)
def test_what_treats_channels_alike_keeps_them(call: Call) -> None:
    walk = walk_of(call, IMAGES)
    assert along_channels(walk) == [0, 1, 2, 3]
    assert not walk.notes


@pytest.mark.parametrize(
    ("call", "operator"),
    [
        (lambda _, x: x.sum(1), "sum"),
        (lambda _, x: x.mean(), "mean"),
        (lambda _, x: torch.atan2(x, x.flip(1)), "atan2"),
        (lambda _, x: torch.linalg.vector_norm(x, dim=1), "linalg_vector_norm"),
    ],
)
def test_what_mixes_channels_loses_them_by_name(call: Call, operator: str) -> None:
    (value,) = walk_of(call, IMAGES).results
    assert isinstance(value, Unfollowed)
    assert value.operator == operator


@pytest.mark.parametrize("join", [torch.add, torch.sub, torch.maximum, lambda x, y: torch.where(x > 0, x, y)])
def test_a_sum_or_a_choice_makes_both_sides_one(join: Call) -> None:
    walk = walk_of(lambda _, x, y: join(x, y.flip(1)), IMAGES, IMAGES)
    assert walk.nodes.count == 8
    assert walk.nodes.numbers().tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    assert along_channels(walk) == [0, 1, 2, 3]


def test_what_is_one_value_for_all_channels_joins_none() -> None:
    walk = walk_of(lambda _, x, y: x + y, IMAGES, (2, 1, 6, 6))
    assert along_channels(walk) == [0, 1, 2, 3]
    assert walk.nodes.numbers().tolist() == [0, 1, 2, 3, 4]
    assert walk.sums == []


def test_channels_along_different_axes_are_not_taken_for_the_same() -> None:
    walk = walk_of(lambda _, x, y: x[:, :, None] + y[:, None], (2, 4), (2, 4))
    assert isinstance(walk.results[0], Unfollowed)
    assert walk.nodes.numbers().tolist() == list(range(8))


def test_what_is_added_unseen_is_said() -> None:
    walk = walk_of(lambda _, x, y: x + y.sort(1).values, IMAGES, IMAGES)
    assert along_channels(walk) == [0, 1, 2, 3]
    assert list(walk.notes) == ["what the model adds to its channels is not followed (sort)"]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_gate_is_the_smaller_value_or_the_squashed_one_whatever_the_order(swapped: bool) -> None:
    def product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return other * one if swapped else one * other

    small = walk_of(lambda _, x, y: product(x, y), IMAGES, (2, 4, 1, 1))
    squashed = walk_of(lambda _, x, y: product(x, torch.sigmoid(y)), IMAGES, IMAGES)
    for walk in (small, squashed):
        assert along_channels(walk) == [0, 1, 2, 3]
        assert gates(walk) == {(4, 0), (5, 1), (6, 2), (7, 3)}
        assert len(set(walk.nodes.numbers())) == 8, "nothing is merged"


def test_a_quotient_keeps_what_is_divided() -> None:
    walk = walk_of(lambda _, x, y: x / y, IMAGES, IMAGES)
    assert along_channels(walk) == [0, 1, 2, 3]
    assert gates(walk) == set()


def test_a_gated_linear_unit_gates_its_first_half_with_its_second() -> None:
    walk = walk_of(lambda _, x: functional.glu(x, 1), (2, 6, 3))
    assert along_channels(walk) == [0, 1, 2]
    assert gates(walk) == {(3, 0), (4, 1), (5, 2)}


def test_the_later_units_stand_for_a_sum() -> None:
    walk = walk_of(lambda self, x: x + self.block(x), IMAGES, block=nn.Conv2d(4, 4, 1))
    (joint,) = walk.sums
    assert joint.ids.flatten().tolist() == walk.reads[0].outputs.tolist()


def test_a_vector_with_one_value_an_example_keeps_no_channels_apart() -> None:
    walk = walk_of(lambda _, x: x.mean((1, 2)), (3, 1, 5))
    (value,) = walk.results
    assert isinstance(value, Channels)
    assert nodes_of(walk).tolist() == [0, 0, 0]
