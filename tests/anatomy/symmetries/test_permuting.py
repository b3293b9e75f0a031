from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined
from weightatlas.anatomy.symmetries.permuting import permuted

LAYOUTS = {
    "weight": (Combined((Factor(2, "heads"), Factor(3, "width"))), Joined((Factor(2), Factor(2, "inputs")))),
    "bias": (Factor(4),),
}
ORDERS = {"heads": np.array([1, 0]), "width": np.array([2, 0, 1]), "inputs": np.array([1, 0])}


def test_every_axis_goes_its_own_way() -> None:
    weight = np.arange(24).reshape(6, 4)
    expected = weight.reshape(2, 3, 4)[[1, 0]][:, [2, 0, 1]].reshape(6, 4)[:, [0, 1, 3, 2]]
    moved = permuted({"weight": weight}, LAYOUTS, ORDERS)["weight"]
    np.testing.assert_array_equal(moved, expected)
    tensor = permuted({"weight": torch.from_numpy(weight).bfloat16()}, LAYOUTS, ORDERS)["weight"]
    assert tensor.dtype == torch.bfloat16
    np.testing.assert_array_equal(tensor.float().numpy(), expected)


def test_what_does_not_move_is_passed_on_and_the_given_state_stays() -> None:
    state = {"bias": torch.ones(4), "weight": torch.randn(6, 4), "other": "text"}
    before = dict(state)
    moved = permuted(state, LAYOUTS, ORDERS)
    assert moved["bias"] is state["bias"]
    assert moved["other"] == "text"
    assert all(state[name] is before[name] for name in before)
    assert permuted(state, LAYOUTS, {})["weight"] is state["weight"]


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weight has the shape \(6, 5\), and \(6, 4\) in the model"):
        permuted({"weight": np.zeros((6, 5))}, LAYOUTS, ORDERS)
