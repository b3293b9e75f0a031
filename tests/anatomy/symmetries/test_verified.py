from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import Called, sizes
from weightatlas.anatomy.symmetries.layout import Combined, Factor
from weightatlas.anatomy.symmetries.verified import verified

EXAMPLE = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


RIGHT = {
    "0.weight": (Factor(6, "P"), Factor(4)),
    "0.bias": (Factor(6, "P"),),
    "2.weight": (Factor(5, "Q"), Factor(6, "P")),
    "2.bias": (Factor(5, "Q"),),
    "4.weight": (Factor(2), Factor(5, "Q")),
}


def test_right_groups_stay_and_the_wrong_one_is_pinned_with_the_reason() -> None:
    found = verified(network(), EXAMPLE, {**RIGHT, "4.bias": (Factor(2, "R"),)}, seed=0)
    assert sizes(found) == {"P": 6, "Q": 5}
    assert found.verified
    assert found.change < 1e-12
    (pinned,) = (one for one in found.pinned if one.tensor == "4.bias")
    assert pinned.reason.startswith("permuting it changes the outputs by ")


def test_a_group_that_is_wrong_where_its_units_are_dead_is_found() -> None:
    model = network()
    model.get_parameter("0.bias").data.fill_(-50.0)
    wrong = {**RIGHT, "2.weight": (Factor(5, "Q"), Factor(6))}
    assert sizes(verified(model, EXAMPLE, wrong, seed=0, draws=1)) == {"P": 6, "Q": 5}, "one draw does not see it"
    assert sizes(verified(model, EXAMPLE, wrong, seed=0)) == {"Q": 5}


def test_copies_that_change_the_outputs_are_dropped_and_the_groups_stay() -> None:
    heads = Combined((Factor(2, "H"), Factor(3, "W")))
    layouts = {"a.weight": (heads, Factor(4)), "a.bias": (heads,), "b.weight": (Factor(2), heads)}
    layers = {"a": nn.Linear(4, 6), "b": nn.Linear(6, 2)}
    apart = Called(lambda net, x: net.b(net.a(x).unflatten(1, (2, 3)).softmax(2).flatten(1)), **layers)
    found = verified(apart, EXAMPLE, layouts, {"W": ("H",)}, seed=0)
    assert dict(found.separable) == {"W": ("H",)}
    mixing = Called(lambda net, x: net.b(net.a(x).unflatten(1, (2, 3)).softmax(1).flatten(1)), **layers)
    found = verified(mixing, EXAMPLE, layouts, {"W": ("H",)}, seed=0)
    assert dict(found.separable) == {}
    assert sizes(found) == {"H": 2, "W": 3}, "as one for all heads they are right"


def test_the_answer_is_the_same_again_and_draws_are_at_least_one() -> None:
    one, other = (verified(network(), EXAMPLE, RIGHT, seed=3) for _ in range(2))
    assert one.change == other.change
    with pytest.raises(ValueError, match="draws must be 1 or more, not 0"):
        verified(network(), EXAMPLE, RIGHT, seed=0, draws=0)
