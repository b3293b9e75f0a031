from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from tests.anatomy.graph.example_walks import walk_of
from weightatlas.anatomy import describe_model
from weightatlas.anatomy.graph.grouped import grouped_branches, groups_in
from weightatlas.anatomy.graph.paths import Paths

if TYPE_CHECKING:
    from weightatlas.anatomy.graph.branch_types import Branching

IMAGES = (1, 3, 8, 8)


def found_in(network: nn.Module) -> dict[str, Branching]:
    walk = walk_of(lambda self, x: self.network(x), IMAGES, network=network)
    return {one.layer.removeprefix("network."): one for one in groups_in(Paths(walk))}


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_groups_divide_the_units_that_are_read_and_those_that_are_made(groups: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 12, 5), nn.ReLU(), nn.Conv2d(12, 18, 3, groups=groups))
    found = found_in(network)
    assert set(found) == {"0", "2"}
    for layer, units in (("0", 12), ("2", 18)):
        one = found[layer]
        assert one.labels.tolist() == [unit * groups // units for unit in range(units)]
        assert one.names == tuple(f"group {number}" for number in range(1, groups + 1))
        assert all(branch.rows.tolist() == branch.units.tolist() for branch in one.branches)
    assert {branch.kernel for branch in found["0"].branches} == {(5, 5)}


def test_a_depthwise_convolution_has_no_groups_whatever_its_multiplier() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1, groups=4))
    assert found_in(network) == {}


def test_units_that_several_layers_made_or_that_are_the_input_have_no_branching() -> None:
    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.grouped = nn.Conv2d(4, 4, 1, groups=2)

        def forward(self, x: torch.Tensor) -> Any:  # noqa: ANN401
            return self.grouped(self.left(x) + self.right(x))

    assert set(found_in(Summed())) == {"grouped"}
    both = nn.Sequential(
        nn.ZeroPad2d(0), nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1, groups=2), nn.Conv2d(6, 4, 1, groups=2)
    )
    assert set(found_in(both)) == {"1", "2", "3"}, "layer 2's groups stand once, though two layers divide them alike"


def test_a_guess_takes_the_nearest_layer_that_fits() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1), nn.Conv2d(5, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3, groups=2)
    )
    own, feeding = grouped_branches(describe_model(network))
    assert (own.layer, own.reader, own.labels.tolist()) == ("4", None, [0, 0, 0, 1, 1, 1])
    assert (feeding.layer, feeding.reader, feeding.labels.tolist()) == ("2", "4", [0, 0, 0, 0, 1, 1, 1, 1])
    assert own.branches[0].kernel == (3, 3)


def test_nothing_is_guessed_where_no_layer_before_fits() -> None:
    assert grouped_branches(describe_model(nn.Sequential(nn.Conv2d(8, 4, 3, groups=2)))) == ()
