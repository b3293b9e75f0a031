from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from weightatlas.lab import Configuration, Recipe
from weightatlas.lab.kinds import KINDS, frozen, is_number, other_kind, require

FIELDS = {item.name: item for kind in (Recipe, Configuration) for item in fields(kind)}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("batch_size", (1, 512), (2.0, "2", True, None)),
        ("steps", (None, 3), (3.5, False)),
        ("learning_rate", (1, 0.5), (float("nan"), float("inf"), "0.1", True)),
        ("compile", (True, False), (0, 1, "true")),
        ("model", ("timm:resnet18",), ("", 3)),
        ("interventions", ((), ("x-pooling",)), ("x-pooling", (1,))),
        ("milestones", ((0.5,), (0.3, 0.6)), (0.5, ("a",))),
        ("batch_schedule", (((30, 1024),),), (30,)),
    ],
)
def test_a_value_is_of_its_field_s_kind_or_is_told_what_it_must_be(
    name: str, good: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    for value in good:
        assert other_kind(FIELDS[name], value) is None
    for value in bad:
        assert other_kind(FIELDS[name], value)


def test_every_plain_field_has_a_kind_that_is_known() -> None:
    declared = {str(item.type).removesuffix(" | None") for item in FIELDS.values()}
    literals = {"Optimizer", "Schedule", "Precision", "Keep"}
    assert declared - set(KINDS) - literals == {"Recipe", "Augmentation"}


def test_lists_become_tuples_at_every_depth() -> None:
    assert frozen([1, [2, [3]], "a"]) == (1, (2, (3,)), "a")
    assert frozen("abc") == "abc"


def test_numbers_are_finite_and_no_truth_values() -> None:
    assert [value for value in (1, 0.5, True, float("inf"), "1", None) if is_number(value)] == [1, 0.5]


def test_what_is_required_is_said_with_what_was_given() -> None:
    recipe = Recipe(steps=3)
    require(recipe, "steps", holds=True, what="more")
    with pytest.raises(ValueError, match="steps must be more, not 3"):
        require(recipe, "steps", holds=False, what="more")
