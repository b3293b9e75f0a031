from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.anatomy.graph.example_walks import along_channels, nodes_of, walk_of
from weightatlas.anatomy.graph.channel_ids import Unfollowed

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[torch.Tensor], torch.Tensor]

IMAGES = (2, 4, 6, 6)

MOVES: dict[str, Call] = {
    "flattened": lambda x: x.flatten(1),
    "turned": lambda x: x.permute(0, 2, 3, 1).transpose(1, 2),
    "shuffled": lambda x: functional.channel_shuffle(x, 2),
    "shuffled by hand": lambda x: x.view(2, 2, 2, 6, 6).transpose(1, 2).reshape(2, 4, 6, 6),
    "space from channels": lambda x: functional.pixel_shuffle(x, 2),
    "channels from space": lambda x: functional.pixel_unshuffle(x, 2),
    "rolled": lambda x: x.roll(3, 1).flip(2),
    "every other": lambda x: x[:, ::2, 1:],
    "picked": lambda x: x[:, [3, 3, 0]],
    "selected": lambda x: x.index_select(1, torch.tensor([2, 1])),
    "repeated": lambda x: x.repeat_interleave(3, 1).repeat(1, 2, 1, 1),
    "unbound": lambda x: torch.stack(x.unbind(1)[::-1], 2),
    "split": lambda x: torch.cat(torch.split_with_sizes(x, [1, 3], 1)[::-1], 1),
    "windows": lambda x: x.unfold(1, 2, 2),
    "quartered": lambda x: torch.cat([x[:, :, 0::2, 0::2], x[:, :, 1::2, 1::2]], 1),
    "one position": lambda x: x[:, :, 0, 0].unsqueeze(2).expand(2, 4, 5),
}


@pytest.mark.parametrize("name", MOVES)
def test_channels_go_where_their_values_go(name: str) -> None:
    numbered = torch.arange(4.0)[None, :, None, None].expand(IMAGES)  # each value says which channel it is of
    walk = walk_of(lambda _, x: MOVES[name](x), IMAGES)
    np.testing.assert_array_equal(nodes_of(walk), MOVES[name](numbered).numpy())
    assert not walk.notes


def test_channels_moved_by_what_is_computed_are_lost() -> None:
    walk = walk_of(lambda _, x: x.index_select(1, x[0, :, 0, 0].argsort()), IMAGES)
    (value,) = walk.results
    assert isinstance(value, Unfollowed)
    assert value.operator in {"argsort", "index_select"}


def test_channels_picked_by_a_list_that_was_changed_are_lost() -> None:
    def call(_: object, x: torch.Tensor) -> torch.Tensor:
        order = torch.tensor([2, 1, 0, 3])
        order[0] = 3
        return x.index_select(1, order)

    assert isinstance(walk_of(call, IMAGES).results[0], Unfollowed)


def test_positions_moved_by_what_is_computed_do_not_matter() -> None:
    walk = walk_of(lambda _, x: x[:, :, torch.arange(6) % 2 + torch.arange(6) // 2], IMAGES)
    assert along_channels(walk) == [0, 1, 2, 3]


def test_a_concatenation_of_channels_is_written_down_and_one_of_positions_is_not() -> None:
    channels = walk_of(lambda _, x, y: torch.cat([y, x], 1), IMAGES, (2, 3, 6, 6))
    (joint,) = channels.concatenations
    assert (joint.axis, [part.shape[1] for part in joint.parts]) == (1, [3, 4])
    assert along_channels(channels) == [4, 5, 6, 0, 1, 2, 3]
    positions = walk_of(lambda _, x: torch.cat([x, x.flip(3)], 3), IMAGES)
    assert positions.concatenations == []
    assert along_channels(positions) == [0, 1, 2, 3]


def test_a_constant_position_has_the_channels_of_the_others() -> None:
    token = torch.nn.Parameter(torch.zeros(1, 1, 3))
    walk = walk_of(
        lambda self, x: torch.cat([self.token.expand(2, 1, 3), self.layer(x)], 1),
        (2, 5, 3), token=token, layer=torch.nn.Linear(3, 3),
    )  # fmt: skip
    assert along_channels(walk, axis=2) == [3, 4, 5]


def test_an_empty_list_of_values_adds_nothing() -> None:
    walk = walk_of(lambda _, x: torch.cat([torch.zeros(0), x], 1), (2, 4))
    assert along_channels(walk) == [0, 1, 2, 3]


def test_lost_channels_in_a_concatenation_are_fresh_and_said() -> None:
    walk = walk_of(lambda _, x: torch.cat([x, x.sort(1).values], 1), IMAGES)
    assert along_channels(walk) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert list(walk.notes) == ["channels concatenated in the model are not followed (sort)"]


def test_padded_channels_are_units_of_their_own() -> None:
    walk = walk_of(lambda _, x: functional.pad(x, (0, 0, 1, 1, 2, 1)), IMAGES)
    nodes = along_channels(walk)
    assert nodes[2:6] == [0, 1, 2, 3]
    assert len(set(nodes)) == 7
    cropped = walk_of(lambda _, x: functional.pad(x, (0, 0, 0, 0, -1, -1)), IMAGES)
    assert along_channels(cropped) == [1, 2]


def test_what_is_written_over_is_gone() -> None:
    def call(_: object, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        whole = x.clone()
        whole[:, 1:3] = y
        whole[:, :, 0] = 0
        return whole

    assert along_channels(walk_of(call, IMAGES, (2, 2, 6, 6))) == [0, 4, 5, 3]


@pytest.mark.parametrize("make", [torch.zeros_like, torch.ones_like, lambda x: x.new_zeros(2, 4, 6, 6)])
def test_what_has_a_value_s_shape_alone_has_none_of_its_channels(make: Call) -> None:
    walk = walk_of(lambda _, x: torch.cat([x, make(x)], 1) + make(x).repeat(1, 2, 1, 1), IMAGES)
    assert along_channels(walk) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert (walk.sums, list(walk.notes)) == ([], [])
