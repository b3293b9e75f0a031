from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import found_in
from weightatlas.anatomy.symmetry import symmetries

NETWORK = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))


def test_permutations_compose_and_undo_each_other() -> None:
    found = found_in(NETWORK, 2, 3)
    state = NETWORK.state_dict()
    first, second = found.random(0), found.random(1)
    one_by_one = found.permute(found.permute(state, first), second)
    at_once = found.permute(state, found.compose(first, second))
    assert all(torch.equal(tensor, at_once[name]) for name, tensor in one_by_one.items())
    nothing = found.compose(first, found.inverse(first))
    assert all((nothing[name] == order).all() for name, order in found.identity().items())
    assert {name: order.tolist() for name, order in found.random(0).items()} == {
        name: order.tolist() for name, order in first.items()
    }


def test_states_of_any_type_are_moved_as_the_permutation_says() -> None:
    found = found_in(NETWORK, 2, 3)
    order = torch.tensor([4, 0, 1, 2, 3])
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in NETWORK.state_dict().items()}
    moved = found.permute({**state, "step": 3}, {"0": order})
    np.testing.assert_array_equal(moved["0.weight"], state["0.weight"][order.numpy()])
    np.testing.assert_array_equal(moved["2.weight"], state["2.weight"][:, order.numpy()])
    assert moved["4.weight"] is state["4.weight"]
    assert moved["step"] == 3


def test_coverage_and_rows_say_what_moves_and_why_the_rest_does_not() -> None:
    found = found_in(NETWORK, 2, 3)
    assert found.coverage == pytest.approx(1 - 2 / sum(one.numel() for one in NETWORK.parameters())), "the last bias"
    rows = found.rows()
    assert rows[0] == {"group": "0", "size": 5, "axes": ["0.weight:0", "0.bias:0", "2.weight:1"], "pinned": None}
    assert {row["pinned"]: row["axes"] for row in rows if row["group"] is None} == {
        "the order of the model's inputs": ["0.weight:1"],
        "the order of the model's outputs": ["4.weight:0", "4.bias:0"],
    }


def test_without_verification_nothing_is_said_to_be_right() -> None:
    found = symmetries(NETWORK, torch.zeros(2, 3), verify=False)
    assert not found.verified
    assert np.isnan(found.change)
    assert [group.name for group in found.groups] == ["0", "2"]


def test_what_does_not_fit_is_refused() -> None:
    found = found_in(NETWORK, 2, 3)
    with pytest.raises(ValueError, match="no group is named 'P'; groups are 0, 2"):
        found.permute({}, {"P": [0]})
    with pytest.raises(ValueError, match="the permutation of '0' must have each of 0 to 4 once"):
        found.inverse({"0": [0, 0, 1, 2, 3]})
    with pytest.raises(ValueError, match=r"0.bias has the shape \(3,\), and \(5,\) in the model"):
        found.permute({"0.bias": torch.zeros(3)}, {})
