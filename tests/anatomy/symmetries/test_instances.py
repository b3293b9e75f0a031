from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import found_in, sizes
from weightatlas.anatomy.symmetries.instances import Instances
from weightatlas.anatomy.symmetries.terms import Leaf, Product, resolved
from weightatlas.anatomy.symmetries.unification import pin, unify


def test_what_is_stacked_and_taken_apart_again_moves_on_its_own() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        first, second = torch.stack([self.a(given), self.b(given)]).relu().unbind(0)
        return torch.as_tensor(self.c(first) + self.d(second))

    layers = {name: nn.Linear(*shape) for name, shape in zip("abcd", [(4, 6), (4, 6), (6, 3), (6, 3)], strict=True)}
    assert sizes(found_in(call, 2, 4, **layers)) == {"a": 6, "b": 6}


def test_what_is_stacked_and_then_mixed_moves_together() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        both = torch.stack([self.a(given), self.b(given)], 1)
        return torch.as_tensor(self.c((both.softmax(1) * both).sum(1)))

    layers = {"a": nn.Linear(4, 6), "b": nn.Linear(4, 6), "c": nn.Linear(6, 3)}
    assert sizes(found_in(call, 2, 4, **layers)) == {"a": 6}


def test_one_scale_for_all_parts_ties_them() -> None:
    def call(self: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        first, second = (self.a(given).unflatten(-1, (2, 6)) * self.scale).unbind(1)
        return torch.as_tensor(self.c(first) + self.d(second.relu()))

    layers = {"a": nn.Linear(4, 12), "c": nn.Linear(6, 3), "d": nn.Linear(6, 3)}
    found = found_in(call, 2, 4, scale=nn.Parameter(torch.randn(6)), **layers)
    assert list(sizes(found).values()) == [6]


def test_copies_follow_what_becomes_of_their_original() -> None:
    instances = Instances()
    chosen, beside = Leaf(3, "taken one by one"), Leaf(6)
    copies = [instances.of(beside, chosen, entry) for entry in range(3)]
    heads, width = Leaf(2), Leaf(3)
    unify(beside, Product((heads, width)))
    pin(width, "for a reason")
    instances.settle([(Product((chosen, beside)),)], [])
    for copy in copies:
        found = resolved(copy)
        assert isinstance(found, Product)
        assert [leaf.reason for leaf in found.parts if isinstance(leaf, Leaf)] == [None, "for a reason"]
    assert resolved(copies[0]) is not resolved(copies[1])


def test_copies_are_one_where_the_original_stands_alone() -> None:
    instances = Instances()
    chosen, beside = Leaf(2, "taken one by one"), Leaf(6)
    copies = [instances.of(beside, chosen, entry) for entry in range(2)]
    instances.settle([(chosen, beside), (beside,)], [])
    assert resolved(copies[0]) is resolved(copies[1]) is resolved(beside)
