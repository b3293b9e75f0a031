from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from weightatlas.branching.gathering.membership import branch_partition, family_members, family_partition
from weightatlas.errors import SourceError


def test_branches_by_name_and_by_label_are_the_same() -> None:
    labels = np.array([0, 0, 1, -1, 1], dtype=np.int64)
    named = branch_partition({"a": [0, 1], "b": np.array([2, 4])}, units=5)
    given = branch_partition(SimpleNamespace(names=("a", "b"), labels=labels))
    np.testing.assert_array_equal(named.labels, labels)
    np.testing.assert_array_equal(given.labels, labels)
    assert named.names == given.names == ("a", "b")
    assert named.sizes.tolist() == [2, 2]


def test_branches_of_equal_width_are_runs() -> None:
    assert branch_partition(3, units=6).labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("branches", "units", "problem"),
    [
        ({"a": [0, 1], "b": [1, 2]}, None, "unit 1 is in the branches 'a' and 'b'"),
        ({"a": [0, 7]}, 4, "branch 'a' names 7, and the layer has four units"),
        ({"a": [-1]}, 4, "names -1"),
        ({"a": [0.5]}, 4, "names 0.5, which is no unit"),
        ({"a": [True]}, 4, "names True, which is no unit"),
        ({"a": []}, 4, "no unit is in a branch"),
        ({}, None, "no unit is in a branch"),
        (3, 8, "eight units cannot be cut into 3 branches"),
        (2, None, "an unknown number of units"),
        (0, 4, "cannot be cut into 0"),
        (SimpleNamespace(names=("a",), labels=np.array([0, 1])), None, "name no branch"),
    ],
)
def test_branches_that_are_none_are_refused(branches: object, units: int | None, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        branch_partition(branches, units=units, layer="conv1")  # type: ignore[arg-type]
    assert str(caught.value).startswith("conv1: ")


def test_labels_and_units_give_the_same_families() -> None:
    by_label = family_members(np.array([2, 5, -1, 2]), units=4)
    by_unit = family_members({"2": [3, 0], "5": [1]}, units=4)
    assert {name: units.tolist() for name, units in by_label.items()} == {"2": [0, 3], "5": [1]}
    assert {name: units.tolist() for name, units in by_unit.items()} == {"2": [0, 3], "5": [1]}


@pytest.mark.parametrize("none", [None, "", -1, -1.0, float("nan")])
def test_a_label_can_say_that_there_is_no_family(none: object) -> None:
    assert {name: units.tolist() for name, units in family_members(["x", none], units=2).items()} == {"x": [0]}


@pytest.mark.parametrize(
    ("families", "problem"),
    [
        ({"curve": [0, 9]}, "family 'curve' names 9, and the layer has four units"),
        ({"curve": ["one"]}, "names 'one', which is no unit"),
        (["a", "b"], "two labels for four units"),
    ],
)
def test_families_that_do_not_fit_the_layer_are_refused(families: object, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        family_members(families, units=4)  # type: ignore[arg-type]


def test_units_of_several_families_belong_to_none_and_are_told() -> None:
    single, several = family_partition({"a": np.array([0, 1]), "b": np.array([1, 2])}, units=4)
    assert single.labels.tolist() == [0, -1, 1, -1]
    assert several.tolist() == [1]
