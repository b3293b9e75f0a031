from __future__ import annotations

from typing import Any

import pytest
from torch import fx

from weightatlas.anatomy.symmetries.calls import Call, Value, broadcast, hold, values_in
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, resolved


def call(arguments: dict[str, Any], *shapes: tuple[int, ...]) -> Call:
    node = fx.Graph().placeholder("x")
    return Call(node, "something", arguments, shapes)


def value(*lengths: int) -> Value:
    return Value(tuple(Leaf(length) for length in lengths), lengths)


def test_arguments_are_found_by_the_first_name_that_the_operator_has() -> None:
    x, y, z = value(2), value(3), value(4)
    one = call({"self": x, "mat2": y, "others": [z, [x]], "dim": -1, "bias": None}, (2,))
    assert one.values() == [x, y, z, x]
    assert one.value("other", "mat2") is y
    assert one.optional("self") is x
    assert one.optional("bias") is one.optional("weight") is None
    assert (one.axis(3), one.axis(0), one.axis(3, name="start")) == (2, 0, 0)


def test_axes_of_length_1_are_nobody_s_and_fresh_ones_nobody_else_s() -> None:
    leaf = Leaf(3)
    one = call({}, (3, 1), (2,))
    made = one.made([leaf, Leaf(1)])
    assert (made.axes, made.shape) == ((leaf, UNIT), (3, 1))
    fresh = one.fresh("why", 1)
    assert [(axis.size, axis.reason) for axis in fresh.axes if isinstance(axis, Leaf)] == [(2, "why")]
    with pytest.raises(ValueError, match="zip"):
        one.made([leaf])


def test_what_an_operator_computes_on_its_way_is_written_down() -> None:
    one = call({}, (3,))
    leaf = Leaf(3)
    one.within([leaf, UNIT])
    assert one.seen == [(leaf, UNIT)]


def test_axes_that_meet_are_counted_from_the_last() -> None:
    a, b, c = Leaf(4), Leaf(3), Leaf(3)
    made = broadcast([[a, b], [c], [UNIT, UNIT]], 3)
    assert made[0] is UNIT
    assert made[1] is a
    assert resolved(made[2]) is resolved(b) is resolved(c)


def test_holding_keeps_the_first_reason() -> None:
    known, free = Leaf(2, "before"), Leaf(3)
    hold([Product((known, free))], "now")
    assert (known.reason, free.reason) == ("before", "now")


def test_values_are_found_in_nested_lists_and_mappings() -> None:
    x, y = value(1), value(2)
    assert list(values_in([x, (1, [y]), {"name": x}, None, "text"])) == [x, y, x]
