from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.symmetries.example_networks import found_in, reasons, sizes

if TYPE_CHECKING:
    from collections.abc import Callable

CONVOLUTION = nn.Conv2d


def test_flattening_repeats_a_channel_for_each_position() -> None:
    found = found_in(nn.Sequential(CONVOLUTION(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 2, 3, 4, 4)
    (group,) = found.groups
    last = group.axes[-1]
    assert (last.tensor, last.axis, str(last.layout)) == ("3.weight", 1, "[0] × 2 × 2")
    assert last.positions.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_concatenation_joins_and_cuts_take_apart() -> None:
    def call(self: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        both = torch.cat([self.left(images), self.right(images)], 1)
        first, second = torch.tensor_split(both, [3], 1)
        return torch.as_tensor(self.first(first) + self.second(second) + self.whole(self.norm(both)))

    layers = {"left": CONVOLUTION(3, 3, 1), "right": CONVOLUTION(3, 5, 1), "norm": nn.BatchNorm2d(8)}
    layers |= {"first": CONVOLUTION(3, 2, 1), "second": CONVOLUTION(5, 2, 1), "whole": CONVOLUTION(8, 2, 1)}
    found = found_in(call, 2, 3, 4, 4, **layers)
    assert sizes(found) == {"left": 3, "right": 5}
    assert str(found.layouts["norm.running_var"][0]) == "[left] + [right]"


def test_a_cut_within_a_layer_makes_two_classes() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        hidden = self.a(given)
        return torch.as_tensor(self.b(torch.cat([hidden[:, :2].flip(1), hidden[:, 2:]], 1)))

    found = found_in(call, 2, 4, a=nn.Linear(4, 12), b=nn.Linear(12, 3))
    assert sizes(found) == {"a": 10}
    assert reasons(found) == {"flip puts its entries in another order"}
    assert str(found.layouts["a.weight"][0]) == "2 + [a]"


def test_padded_channels_are_zeros_that_any_unit_of_the_other_side_may_meet() -> None:
    def call(self: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        shortcut = functional.pad(self.a(images)[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return torch.as_tensor(self.last(shortcut + self.b(images)))

    layers = {"a": CONVOLUTION(3, 4, 1), "b": CONVOLUTION(3, 8, 3, 2, 1), "last": CONVOLUTION(8, 2, 1)}
    found = found_in(call, 2, 3, 4, 4, **layers)
    assert sizes(found) == {"a": 4, "b/0": 2, "b/2": 2}


@pytest.mark.parametrize(
    ("between", "width", "expected"),
    [
        (lambda x: functional.pixel_shuffle(x, 2), 4, {"a": 4}),
        (lambda x: functional.pixel_unshuffle(x, 2), 64, {"a": 16}),
        (lambda x: torch.channel_shuffle(x, 4), 16, {"a/0": 4, "a/1": 4}),
        (lambda x: functional.unfold(x, 2).reshape(2, -1, 3, 3), 64, {"a": 16}),
        (lambda x: x.repeat(1, 2, 1, 1), 32, {"a": 16}),
        (lambda x: x.repeat_interleave(2, 1), 32, {"a": 16}),
        (lambda x: x.permute(0, 2, 3, 1).contiguous().movedim(-1, 1), 16, {"a": 16}),
        (lambda x: x.index_select(2, torch.tensor([1, 0])), 16, {"a": 16}),
        (lambda x: x[:, :, torch.tensor([1, 0])], 16, {"a": 16}),
        (lambda x: x.roll(1, 3).flip(2), 16, {"a": 16}),
        (lambda x: functional.interpolate(x, scale_factor=2), 16, {"a": 16}),
        (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), 16, {"a": 16}),
        (lambda x: x.roll(1, 1), 16, {}),
        (lambda x: x[:, ::2], 8, {}),
        (lambda x: x[:, torch.tensor([3, 1, 2])], 3, {}),
    ],
)  # fmt: skip
def test_what_moves_values(
    between: Callable[[torch.Tensor], torch.Tensor], width: int, expected: dict[str, int]
) -> None:
    found = found_in(
        lambda self, x: self.b(between(self.a(x))), 2, 3, 4, 4, a=CONVOLUTION(3, 16, 1), b=CONVOLUTION(width, 2, 1)
    )
    moving = {name: size for name, size in sizes(found).items() if name.startswith("a")}
    assert moving == expected


def test_channels_may_move_beside_positions_that_a_reshape_cuts_elsewhere() -> None:
    def call(self: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        channels_last = self.a(images).permute(0, 2, 3, 1)  # 2, 6, 4, 5: windows of 8 positions across rows
        return torch.as_tensor(self.b(channels_last.reshape(2, 3, 8, 5)))

    found = found_in(call, 2, 3, 6, 4, a=CONVOLUTION(3, 5, 1), b=nn.Linear(5, 2))
    assert sizes(found) == {"a": 5}


def test_a_reshape_across_channels_pins_them() -> None:
    layers = {"a": nn.Linear(4, 6), "b": nn.Linear(9, 2)}
    found = found_in(lambda self, x: self.b(self.a(x).reshape(2, 2, 9)), 2, 3, 4, **layers)
    assert not found.groups
    assert reasons(found) == {"a reshape runs across it"}
