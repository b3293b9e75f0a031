from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import Called, walk_of
from weightatlas.anatomy.graph.exporting import export_graph
from weightatlas.anatomy.graph.graph_inputs import input_axes

if TYPE_CHECKING:
    from collections.abc import Callable


def axes(call: Callable[..., Any], *inputs: torch.Tensor, **layers: nn.Module) -> list[tuple[int, ...]]:
    exported = export_graph(Called(call, **layers), list(inputs))
    found = input_axes(exported.module.graph, exported.inputs)
    return [found[name] for name in exported.inputs if name in found]


def conv(channels: int = 4, axes: int = 2) -> nn.Module:
    return {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes](channels, 2, 1)


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((2, 4, 6), conv(axes=1), (1,)),
        ((2, 4, 6, 6), conv(), (1,)),
        ((4, 6, 6), conv(), (0,)),
        ((2, 4, 3, 6, 6), conv(axes=3), (1,)),
        ((2, 4, 6, 6), nn.ConvTranspose2d(4, 2, 2), (1,)),
        ((2, 4), nn.Linear(4, 2), (1,)),
        ((4,), nn.Linear(4, 2), (0,)),
        ((2, 5, 4), nn.Linear(4, 2), (2,)),
        ((2, 6, 6, 4), nn.Linear(4, 2), (3,)),
        ((2, 4, 6, 6), nn.Sequential(nn.Flatten(), nn.Linear(144, 2)), (1, 2, 3)),
        ((2, 4, 6, 6), nn.Sequential(nn.ReLU(), nn.AvgPool2d(2), conv()), (1,)),
        ((2, 4, 6, 6), nn.ReLU(), (1,)),
        ((4,), nn.ReLU(), (0,)),
    ],
)
def test_the_first_layer_says_which_axis_counts_units(
    shape: tuple[int, ...], layer: nn.Module, expected: tuple[int, ...]
) -> None:
    assert axes(lambda self, x: self.layer(x), torch.zeros(shape), layer=layer) == [expected]


@pytest.mark.parametrize(
    ("turn", "shape", "layer", "expected"),
    [
        (lambda x: x.permute(0, 3, 1, 2), (2, 6, 6, 4), conv(), (3,)),
        (lambda x: x.movedim(-1, 1).relu(), (2, 6, 6, 4), conv(), (3,)),
        (lambda x: x.transpose(1, 2), (2, 7, 4), conv(axes=1), (2,)),
        (lambda x: x.transpose(1, 2).transpose(1, 2), (2, 4, 7), conv(axes=1), (1,)),
        (lambda x: x.permute(0, 2, 3, 1), (2, 4, 6, 6), nn.Linear(4, 2), (1,)),
        (lambda x: x.transpose(0, 1), (7, 2, 4), nn.Linear(4, 2), (2,)),
    ],
)
def test_axes_in_another_order_are_followed(
    turn: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], layer: nn.Module, expected: tuple[int, ...]
) -> None:
    assert axes(lambda self, x: self.layer(turn(x)), torch.zeros(shape), layer=layer) == [expected]
    walk = walk_of(lambda self, x: self.layer(turn(x)), shape, layer=layer)
    assert walk.reads[0].inputs.tolist() == [0, 1, 2, 3]
    assert not walk.notes


def test_patches_that_a_matrix_reads_have_a_unit_for_each_value() -> None:
    def patches(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        x = x.view(2, 4, 2, 3, 2, 3).permute(0, 2, 4, 1, 3, 5).reshape(2, 2, 2, 36)
        return torch.as_tensor(self.layer(x))

    assert axes(patches, torch.zeros(2, 4, 6, 6), layer=nn.Linear(36, 2)) == [(1, 2, 3)]
    reshaped = axes(lambda self, x: self.layer(x.view(2, 6, 4)), torch.zeros(2, 4, 6), layer=nn.Linear(4, 2))
    assert reshaped == [(1, 2)], "a reshape of as many axes has other axes all the same"


def test_each_input_goes_by_its_own_reader_and_whole_numbers_have_none() -> None:
    def call(self: Any, image: torch.Tensor, words: torch.Tensor, vector: torch.Tensor) -> Any:  # noqa: ANN401
        text = self.embed(words).mean(1)
        return functional.relu(self.conv(image)).mean((2, 3)) + self.linear(vector) + text

    found = axes(
        call, torch.zeros(2, 4, 6, 6), torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 3),
        conv=conv(), linear=nn.Linear(3, 2), embed=nn.Embedding(9, 2),
    )  # fmt: skip
    assert found == [(1,), (1,)]
