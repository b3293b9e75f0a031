from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import found_in
from weightatlas.anatomy.symmetry import from_git_re_basin, to_git_re_basin

NETWORK = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 2)
)


def test_a_specification_comes_back_as_it_was_written() -> None:
    written = to_git_re_basin(found_in(NETWORK, 2, 3, 6, 6))
    assert written["3.weight"] == (None, "0", None, None), "5 channels beside 4 positions cannot be written"
    found = from_git_re_basin(written, NETWORK, torch.zeros(2, 3, 6, 6))
    assert [(group.name, group.size, len(group.axes)) for group in found.groups] == [("0", 4, 7)]
    assert found.verified
    assert to_git_re_basin(found) == written


def test_a_forgotten_tensor_is_found_by_verification_and_only_its_group_is_pinned() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    whole = to_git_re_basin(found_in(network, 2, 3))
    found = from_git_re_basin(
        {name: axes for name, axes in whole.items() if name != "2.bias"}, network, torch.ones(2, 3)
    )
    assert [group.name for group in found.groups] == ["0"]
    assert {one.tensor for one in found.pinned if "changes the outputs" in one.reason} == {"2.weight", "4.weight"}
    unseen = from_git_re_basin({"0.weight": ("P", None)}, network)
    assert not unseen.verified
    assert [group.name for group in unseen.groups] == ["P"]


def test_what_does_not_fit_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameter or buffer of numbers that is named 'first'"):
        from_git_re_basin({"first": ("P",)}, NETWORK)
    with pytest.raises(ValueError, match=r"0.weight has 4 axes, and the specification names 2"):
        from_git_re_basin({"0.weight": ("P", None)}, NETWORK)
    with pytest.raises(ValueError, match=r"P is the permutation of axes of 4 and, in 3.bias, of 5 entries"):
        from_git_re_basin({"0.bias": ("P",), "3.bias": ("P",)}, NETWORK)
