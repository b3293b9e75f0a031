from __future__ import annotations

from weightatlas.anatomy.symmetries.layout import Factor
from weightatlas.anatomy.symmetries.naming import layouts_of
from weightatlas.anatomy.symmetries.terms import Leaf, Product, Segments, Term
from weightatlas.anatomy.symmetries.walk import Walk


def walk(tensors: dict[str, tuple[Term, ...]]) -> Walk:
    return Walk(tensors=tensors, values=list(tensors.values()))


def shown(tensors: dict[str, tuple[Term, ...]]) -> dict[str, list[str]]:
    layouts, _ = layouts_of(walk(tensors))
    return {name: [str(axis) for axis in axes] for name, axes in layouts.items()}


def test_a_group_has_the_name_of_the_matrix_whose_units_it_counts() -> None:
    units, inputs = Leaf(4), Leaf(3)
    tensors: dict[str, tuple[Term, ...]] = {
        "norm.weight": (units,), "first.weight": (units, inputs), "second.weight": (Leaf(2, "stays"), units),
        "reader.weight": (Leaf(5, "stays"), inputs),
    }  # fmt: skip
    assert shown(tensors) == {
        "norm.weight": ["[first]"],
        "first.weight": ["[first]", "[first:1]"],
        "second.weight": ["2", "[first]"],
        "reader.weight": ["5", "[first:1]"],
    }


def test_factors_and_segments_are_numbered_and_names_are_not_used_twice() -> None:
    heads, width, tail = Leaf(2), Leaf(3), Leaf(4)
    axis = Segments((Product((heads, width)), tail))
    found = shown({"layer.weight": (axis, Leaf(1)), "layer": (Leaf(7), Leaf(7)), "layer.bias": (heads,)})
    assert found["layer.weight"] == ["[layer/0] × [layer/1] + [layer/2]", "1"]
    assert found["layer"] == ["[layer]", "[layer:1]"]
    assert shown({"a.weight": (Leaf(2), Leaf(1)), "a": (Leaf(3), Leaf(1))})["a"] == ["[a#2]", "1"]


def test_why_a_factor_stays_is_told() -> None:
    layouts, separable = layouts_of(walk({"bias": (Leaf(3, "why"),), "unread": (Leaf(1),)}))
    assert layouts["bias"] == (Factor(3, None, "why"),)
    assert layouts["unread"] == (Factor(1),)
    assert separable == {}


def test_owners_that_stay_give_their_entries_groups_and_others_are_named() -> None:
    staying, moving, width = Leaf(2, "why"), Leaf(3), Leaf(4)
    layouts, separable = layouts_of(walk({"w": (Product((staying, moving, width)), Leaf(1))}))
    assert str(layouts["w"][0]) == "[w/0@0] × [w/1@0] + [w/0@1] × [w/1@1]"
    assert separable == {"w/1@0": ("w/0@0",), "w/1@1": ("w/0@1",)}
