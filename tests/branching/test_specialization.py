from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas.branching.specialization import LOOKED, Specialization, specialization
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

BRANCHES = ("1x1", "3x3", "5x5", "pool")
SIZES = {"mixed3a": (64, 128, 32, 32), "mixed3b": (128, 192, 96, 64)}


def runs(sizes: tuple[int, ...]) -> dict[str, range]:
    """Units of concatenated branches."""
    stops = list(itertools.accumulate(sizes, initial=0))
    return {name: range(*ends) for name, ends in zip(BRANCHES, itertools.pairwise(stops), strict=False)}


def published(reference: Path, layer: str) -> dict[str, list[int]]:
    taxonomy = json.loads((reference / "distill" / "inceptionv1_unit_taxonomy.json").read_text())
    families: dict[str, list[int]] = taxonomy[layer]
    return families


def pair_of(found: Specialization, family: str, branch: str) -> tuple[int, float]:
    return next((pair.k, pair.p_value) for pair in found.pairs if (pair.family, pair.branch) == (family, branch))


@pytest.mark.reference
@pytest.mark.parametrize(
    ("layer", "information", "null", "entropy"),
    [("mixed3a", 0.628, (0.164, 0.028), 1.750), ("mixed3b", 0.725, (0.169, 0.019), 1.889)],
)
def test_the_published_taxonomy_specializes(
    reference: Path, layer: str, information: float, null: tuple[float, float], entropy: float
) -> None:
    found = specialization(published(reference, layer), runs(SIZES[layer]), layer=layer)
    assert found.information == pytest.approx(information, abs=5e-4)
    assert found.branch_entropy == pytest.approx(entropy, abs=5e-4)
    assert found.null_mean == pytest.approx(null[0], abs=0.002)
    assert found.null_std == pytest.approx(null[1], abs=0.002)
    assert found.p_value == 1e-4
    assert found.notes == ()


@pytest.mark.reference
def test_units_of_no_family_can_be_told_in_either_way(reference: Path) -> None:
    families = published(reference, "mixed3a")
    told = specialization(families, runs(SIZES["mixed3a"]))
    named = {name: units for name, units in families.items() if name != "Other Units"}
    untold = specialization(named, runs(SIZES["mixed3a"]), unlabelled="other")
    dropped = specialization(named, runs(SIZES["mixed3a"]))
    assert untold.information == pytest.approx(told.information)
    assert dropped.information == pytest.approx(0.637, abs=5e-4)
    assert dropped.units == 242


@pytest.mark.reference
@pytest.mark.parametrize(
    ("layer", "family", "branch", "expected"),
    [
        ("mixed3a", "BW vs Color", "5x5", (9, 2.48e-9)),
        ("mixed3a", "High-Low Frequency", "3x3", (15, 2e-5)),
        ("mixed3a", "Curves", "3x3", (11, 4e-4)),
        ("mixed3a", "Texture", "pool", (23, 3e-9)),
        ("mixed3b", "Texture", "pool", (20, 3e-8)),
        ("mixed3b", "Color Center-Surround", "1x1", (40, 2e-7)),
    ],
)
def test_published_families_gather_where_the_notes_say(
    reference: Path, layer: str, family: str, branch: str, expected: tuple[int, float]
) -> None:
    found = specialization(published(reference, layer), runs(SIZES[layer]), layer=layer, permutations=99)
    count, p = pair_of(found, family, branch)
    assert count == expected[0]
    assert p == pytest.approx(expected[1], rel=0.15)
    assert (family, branch) in [(pair.family, pair.branch) for pair in found.gathered]


@pytest.mark.reference
def test_the_curves_of_figure_five(reference: Path) -> None:
    labels = json.loads((reference / "distill" / "inceptionv1_branch_unit_labels.json").read_text())["mixed3b"]
    found = specialization(labels, runs(SIZES["mixed3b"]), permutations=99, chosen_after_looking=True)
    count, p = pair_of(found, "Curve Related", "5x5")
    assert count == 30
    assert p == pytest.approx(1.68e-23, rel=2e-3)
    assert found.notes[-1] == LOOKED
    assert all(row["chosen_after_looking"] for table in found.tables for row in found.rows(table))
    # Only the units of that branch were sorted into families: the figures say so.
    assert any("no unit of 1x1, 3x3 and pool has a family" in note for note in found.notes)


def test_planted_families_are_found_and_random_ones_hold_the_level() -> None:
    generator = np.random.default_rng(0)
    branches = {"a": range(24), "b": range(24, 60), "c": range(60, 72)}
    rejected, pairs = [], []
    for seed in range(400):
        labels = generator.choice(["x", "y", "z"], 72, p=[0.5, 0.3, 0.2])
        found = specialization(labels, branches, permutations=199, seed=seed)
        rejected.append(found.p_value <= 0.05)
        pairs.append(bool(found.gathered))
    margin = 3 * np.sqrt(0.05 * 0.95 / 400)
    assert abs(np.mean(rejected) - 0.05) < margin
    assert np.mean(pairs) < 0.05 + margin
    planted = np.array(["x"] * 24 + ["y"] * 36 + ["z"] * 12, dtype=object)
    moved = generator.choice(72, 18, replace=False)
    planted[moved] = planted[generator.permutation(moved)]
    found = specialization(planted, branches, permutations=999)
    assert found.p_value == 1 / 1000
    assert {(pair.family, pair.branch) for pair in found.gathered} == {("x", "a"), ("y", "b"), ("z", "c")}


def test_the_order_of_units_and_names_does_not_matter() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 40)
    branch = generator.integers(0, 2, 40)
    order = generator.permutation(40)

    def found(units: np.ndarray) -> Specialization:
        named = {str(place): np.flatnonzero(branch[units] == place) for place in (1, 0)}
        return specialization(labels[units], named, permutations=99)

    one, other = found(np.arange(40)), found(order)
    assert one.information == pytest.approx(other.information)
    assert {(pair.family, pair.branch, pair.k) for pair in one.pairs} == {
        (pair.family, pair.branch, pair.k) for pair in other.pairs
    }


def test_units_of_several_families_are_tested_with_each_and_left_out_of_the_information() -> None:
    families = {"curve": [0, 1, 2], "colour": [2, 3, 4]}
    found = specialization(families, {"a": range(3), "b": range(3, 6)})
    assert pair_of(found, "curve", "a")[0] == 3
    assert pair_of(found, "curve", "a")[1] == pytest.approx(1 / 20)
    assert pair_of(found, "colour", "a")[0] == 1
    assert found.units == 4
    assert found.information == pytest.approx(1.0)
    assert found.notes == (
        "one unit in several families: left out of the mutual information",
        "one unit of no family: left out of the mutual information",
    )


def test_other_joins_a_family_of_that_name() -> None:
    found = specialization({"a": [0, 1], "other": [2]}, 2, units=4, unlabelled="other")
    assert found.families == ("a", "other")
    assert found.profile.tolist() == [[2, 0], [0, 2]]
    added = specialization({"a": [0, 1]}, 2, units=4, unlabelled="other")
    assert added.families == ("a", "other")
    assert {pair.family for pair in added.pairs} == {"a"}
    assert added.information == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("families", "branches", "units"),
    [(["a"], 1, 1), (["a", "a", "a", "a"], 2, 4), (["a", "b"], {"one": [0, 1]}, None), ({}, 2, 4), ({"a": []}, 2, 4)],
)
def test_where_nothing_can_gather_nothing_is_found(families: object, branches: object, units: int | None) -> None:
    found = specialization(families, branches, units=units)  # type: ignore[arg-type]
    assert (found.information, found.excess, found.p_value) == (0.0, 0.0, 1.0)
    assert all(pair.skipped or pair.p_value == 1.0 for pair in found.pairs)
    assert found.gathered == ()
    assert len(found.rows("information")) == 1


def test_units_without_a_branch_are_left_out_and_told() -> None:
    found = specialization(["x", "x", "y", "y", "x"], {"a": [0, 1], "b": [2, 3]}, units=5)
    assert found.units == 4
    assert found.notes == ("one unit of 5 in no branch: left out",)


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"unlabelled": "keep"}, "unlabelled must be one of drop, other"), ({"permutations": 0}, "at least 1")],
)
def test_options_that_are_none_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        specialization(["a", "b"], 2, units=2, **options)  # type: ignore[arg-type]


def test_families_that_name_unknown_units_are_refused() -> None:
    with pytest.raises(SourceError, match="conv1: family 'curve' names 4, and the layer has four units"):
        specialization({"curve": [4]}, 2, units=4, layer="conv1")


def test_rows_are_plain_and_complete() -> None:
    found = specialization({"f": [0, 1], "none": []}, 2, units=4, layer="conv1")
    for table, columns in found.tables.items():
        for row in found.rows(table):
            assert tuple(row) == columns
            assert all(value is None or isinstance(value, int | float | str) for value in row.values())
    empty = next(row for row in found.rows() if row["family"] == "none")
    assert (empty["p_value"], empty["q_value"], empty["skipped"]) == (
        None,
        None,
        "the family has no unit that is in a branch",
    )
