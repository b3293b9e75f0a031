"""Which branch a unit is in, and which weights see an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.anatomy.branches import Branch, Branching
from weightatlas.branching.surveying.units import LayerUnits, membership, reads_image
from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from weightatlas.anatomy.graph.branch_types import BranchKind


def _branching(kind: BranchKind, names: tuple[str, ...]) -> Branching:
    branches = tuple(
        Branch(name, np.arange(2) + 2 * place, "conv", np.arange(2) + 2 * place, ("conv",), (1, 1), None)
        for place, name in enumerate(names)
    )
    return Branching("joined", kind, 2 * len(names), branches)


def test_a_concatenation_names_a_unit_before_a_sum_does() -> None:
    found = membership([_branching("sum", ("block 0", "block 1")), _branching("concatenation", ("1x1", "3x3"))])
    joined, rows = found["conv"]
    assert joined == "joined"
    assert [rows[row] for row in range(4)] == ["1x1", "1x1", "3x3", "3x3"]


def test_branches_of_a_layer_stand_in_the_order_of_its_units() -> None:
    units = LayerUnits("conv", "conv.weight", (4, 3, 3, 3), names=("b", None, "a", "b"))
    assert units.branches == ("b", "a")
    assert units.units == 4


@pytest.mark.parametrize(
    ("shape", "first", "expected"),
    [
        ((8, 3, 5, 5), False, True),
        ((8, 1, 5, 5), True, True),
        ((8, 1, 5, 5), False, False),
        ((8, 4, 5, 5), True, False),
        ((8, 3), True, False),
    ],
)
def test_weights_of_three_colours_see_the_image(shape: tuple[int, ...], *, first: bool, expected: bool) -> None:
    (layer,) = open_checkpoint({"conv.weight": torch.zeros(shape)}).layers
    assert reads_image(layer, first=first) is expected
