from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import walk_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[torch.Tensor], torch.Tensor]

STORED = (6, 4)


def read_of(change: Change, *, units: int = 6) -> tuple[str, int, int]:
    """Tensor, unit axis and first row of the layer whose weight is a changed (6, 4) matrix."""
    walk = walk_of(
        lambda self, x: functional.linear(x, change(self.weight)), (2, 4), weight=nn.Parameter(torch.zeros(STORED))
    )
    (read,) = walk.reads
    assert read.layer == "weight"
    assert len(read.outputs) == units
    return read.tensor, read.unit_axis, read.key[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight,
        lambda weight: weight.t().transpose(0, 1),
        lambda weight: weight.permute(1, 0).detach().permute(1, 0),
        lambda weight: weight.clone().contiguous(),
        lambda weight: weight.movedim(0, 1).swapaxes(0, 1),
    ],
)
def test_a_matrix_that_is_only_turned_is_still_the_stored_one(change: Change) -> None:
    assert read_of(change) == ("weight", 0, 0)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda weight: weight[2:4], 2),
        (lambda weight: weight[1:][3:], 4),
        (lambda weight: weight.narrow(0, 3, 2), 3),
        (lambda weight: weight.chunk(3)[1], 2),
        (lambda weight: torch.split_with_sizes(weight, [4, 2])[1], 4),
    ],
)
def test_a_run_of_rows_is_the_stored_matrix_from_a_row_on(change: Change, first: int) -> None:
    assert read_of(change, units=2) == ("weight", 0, first)


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight * 2,
        lambda weight: weight.flip(0),
        lambda weight: weight[::2].repeat(2, 1),
        lambda weight: weight / weight.norm(dim=1, keepdim=True),
        lambda weight: weight + weight.t().reshape(STORED),
    ],
)
def test_a_matrix_of_other_numbers_is_not_the_stored_one(change: Change) -> None:
    assert read_of(change)[0] == ""


def test_rows_that_skip_are_no_run() -> None:
    assert read_of(lambda weight: weight[::2], units=3)[0] == ""


def test_a_run_of_columns_is_no_run_of_rows() -> None:
    walk = walk_of(
        lambda self, x: functional.linear(x, self.weight[:, 1:]), (2, 3), weight=nn.Parameter(torch.zeros(STORED))
    )
    (read,) = walk.reads
    assert (read.tensor, len(read.outputs)) == ("", 6)


def test_parts_of_one_matrix_are_layers_of_their_own_and_the_same_part_is_the_same_layer() -> None:
    def call(self: Any, x: torch.Tensor) -> Any:  # noqa: ANN401
        first, second = self.weight.chunk(2)
        return functional.linear(x, first), functional.linear(x, second), functional.linear(x, self.weight[3:])

    walk = walk_of(call, (2, 4), weight=nn.Parameter(torch.zeros(STORED)))
    first, second, again = walk.reads
    assert [read.key for read in walk.reads] == [("weight", 0), ("weight", 3), ("weight", 3)]
    assert second.outputs.tolist() == again.outputs.tolist()
    assert not set(first.outputs.tolist()) & set(second.outputs.tolist())


def test_a_weight_made_of_two_is_named_for_the_module_that_makes_it() -> None:
    class Reparametrised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.direction = nn.Parameter(torch.ones(3, 4))
            self.length = nn.Parameter(torch.ones(3, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, self.length * self.direction)

    walk = walk_of(lambda self, x: self.inner(x), (2, 4), inner=Reparametrised())
    (read,) = walk.reads
    assert (read.layer, read.tensor) == ("inner", "")
