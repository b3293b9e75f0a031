from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.anatomy.branches import Branch, Branching
from weightatlas.branching.gathering.image_layer import image_layer
from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

STATE = {
    "a.weight": torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 3, 3).clone(),
    "b.weight": torch.arange(10.0, 14.0).reshape(4, 1, 1, 1).expand(4, 3, 5, 5).clone(),
}


def branching() -> Branching:
    """Units of two weights, those of `b` first, one row of each unused."""
    units = np.arange(3)
    paths = (
        Branch("5x5", units, "b", np.array([3, 1, 0]), ("b",), (5, 5), None),
        Branch("3x3", units + 3, "a", np.array([0, 2, 3]), ("a",), (3, 3), None),
    )
    return Branching("mixed", "concatenation", 6, paths)


def test_a_branching_says_which_rows_its_units_are() -> None:
    checkpoint = open_checkpoint(STATE)
    found = image_layer(checkpoint, branches=branching())
    assert found.layer == "mixed"
    assert found.branches.labels.tolist() == [0, 0, 0, 1, 1, 1]
    units = np.full(6, -1.0)
    for part, kernels in zip(found.parts, found.kernels(checkpoint), strict=True):
        units[part.places] = kernels[:, 0, 0, 0].numpy()
    assert units.tolist() == [13.0, 11.0, 10.0, 0.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"b.weight": STATE["b.weight"]}, "no weight of a"),
        (STATE | {"a.weight": STATE["a.weight"][:3]}, "too few kernels"),
        (STATE | {"a.weight": torch.ones(4, 3)}, "too few kernels"),
    ],
)
def test_a_checkpoint_without_the_kernels_is_refused(state: dict[str, torch.Tensor], problem: str) -> None:
    found = image_layer(open_checkpoint(STATE), branches=branching())
    with pytest.raises(SourceError, match=problem):
        found.kernels(open_checkpoint(state))


def test_branches_that_are_given_are_of_the_first_layer_that_reads_the_image() -> None:
    assert image_layer(open_checkpoint(STATE), branches=2).layer == "a"
    assert image_layer(open_checkpoint(STATE), layer="b", branches=2).layer == "b"
