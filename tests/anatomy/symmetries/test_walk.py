from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import Called
from weightatlas.anatomy.graph.exporting import export_graph
from weightatlas.anatomy.symmetries.terms import Leaf, resolved
from weightatlas.anatomy.symmetries.walk import CONSTANT, INPUT, OUTPUT, UNREAD, Walk, walk_symmetries


def walked(call: Any, example: Any, movable: set[str] | None = None, **layers: nn.Module) -> Walk:  # noqa: ANN401
    model = Called(call, **layers)
    return walk_symmetries(export_graph(model, example), set(model.state_dict()) if movable is None else movable)


def reason(walk: Walk, tensor: str, axis: int) -> str | None:
    found = resolved(walk.tensors[tensor][axis])
    assert isinstance(found, Leaf)
    return found.reason


def test_inputs_and_outputs_keep_their_order_and_what_is_between_moves() -> None:
    walk = walked(lambda net, x: {"y": [net.b(net.a(x))]}, torch.zeros(2, 3), a=nn.Linear(3, 4), b=nn.Linear(4, 5))
    assert (reason(walk, "a.weight", 1), reason(walk, "b.weight", 0)) == (INPUT, OUTPUT)
    assert reason(walk, "a.weight", 0) is None
    assert resolved(walk.tensors["a.weight"][0]) is resolved(walk.tensors["b.weight"][1])
    assert resolved(walk.tensors["a.bias"][0]) is resolved(walk.tensors["a.weight"][0])


def test_tensors_that_may_not_move_are_constants() -> None:
    a, b = nn.Linear(3, 4), nn.Linear(4, 5)
    walk = walked(lambda net, x: net.b(net.a(x)), torch.zeros(2, 3), {"b.weight"}, a=a, b=b)
    assert set(walk.tensors) == {"b.weight"}
    assert reason(walk, "b.weight", 1) == CONSTANT


@pytest.mark.parametrize(
    ("constant", "held"), [(torch.ones(4), None), (torch.arange(4.0), CONSTANT), (torch.full((3, 4), 2.0), None)]
)
def test_along_a_constant_that_does_not_change_entries_may_move(constant: torch.Tensor, held: str | None) -> None:
    walk = walked(lambda net, x: net.b(net.a(x) * constant), torch.zeros(3, 3), a=nn.Linear(3, 4), b=nn.Linear(4, 5))
    assert reason(walk, "a.weight", 0) == held


def test_graphs_within_the_graph_are_followed() -> None:
    def call(net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        with torch.autocast("cpu", torch.bfloat16):
            hidden = net.a(x)
        return torch.as_tensor(net.b(hidden.float()))

    walk = walked(call, torch.zeros(2, 3), a=nn.Linear(3, 4), b=nn.Linear(4, 5))
    assert resolved(walk.tensors["a.weight"][0]) is resolved(walk.tensors["b.weight"][1])
    assert reason(walk, "a.weight", 0) is None


def test_one_tensor_of_two_names_is_one() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    walk = walked(lambda net, x: net.b(net.a(x).relu()), torch.zeros(2, 4), a=first, b=second)
    assert {reason(walk, name, axis) for name in walk.tensors for axis in (0, 1)} <= {INPUT, OUTPUT}


def test_what_nothing_reads_stays_for_what_else_may_move_with_it_is_not_known() -> None:
    a, b, unread = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(4, 6)
    walk = walked(lambda net, x: net.b(net.a(x)), torch.zeros(2, 3), a=a, b=b, training_only=unread)
    assert {reason(walk, "training_only.weight", axis) for axis in (0, 1)} == {UNREAD}
    assert reason(walk, "a.weight", 0) is None


def test_a_second_name_that_is_not_read_keeps_nothing_in_its_place() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    walk = walked(lambda net, x: net.c(net.a(x)), torch.zeros(2, 4), a=first, b=second, c=nn.Linear(4, 3))
    assert all(reason(walk, name, 0) is None for name in walk.tensors if name in {"a.weight", "b.weight"})
