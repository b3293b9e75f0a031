from __future__ import annotations

import numpy as np
import pytest

from weightatlas.branching.consistency import Consistency, consistency
from weightatlas.branching.gathering.branch_profiles import branch_profile
from weightatlas.branching.specialization import Specialization, specialization


def run_of(labels: object, branches: object = 2, units: int = 64) -> Specialization:
    return specialization(labels, branches, units=units, permutations=1)  # type: ignore[arg-type]


def colour_run(generator: np.random.Generator, *, moved: int, swap: bool = False) -> Specialization:
    """Colour in one of two branches, but for so many units."""
    labels = np.where(np.arange(64) < 32, "colour", "black-and-white").astype(object)
    chosen = generator.choice(64, moved, replace=False)
    labels[chosen] = labels[generator.permutation(chosen)]
    return run_of(labels[::-1] if swap else labels)


def test_the_same_specialisation_in_either_branch_recurs() -> None:
    generator = np.random.default_rng(0)
    found = consistency([colour_run(generator, moved=20, swap=swap) for swap in (False, True, True, False)])
    assert found.p_value == 3 / 1000
    assert found.p_unspecialised == 1 / 1000
    assert found.agreement == 1.0
    assert [(each.runs_agreeing, each.runs_significant) for each in found.recurrences] == [(4, 4), (4, 4)]
    assert all(each.q_value < 0.01 for each in found.recurrences)
    straight, crossed = found.matches[0], found.matches[1]
    assert straight["branch 1"] != crossed["branch 1"]
    assert found.matches[2] == crossed


def test_runs_that_do_not_specialise_hold_the_level() -> None:
    rejected = {"families": 0, "figures": 0}
    for seed in range(150):
        generator = np.random.default_rng(seed)
        families = [run_of(generator.choice(["x", "y", "z"], 48), branches, 48) for branches in (2, 3, 4)]
        figures = [branch_profile({"a": generator.normal(size=48)}, 3, source=str(run)) for run in range(3)]
        for kind, runs in (("families", families), ("figures", figures)):
            rejected[kind] += consistency(runs, permutations=39, seed=seed).p_value <= 0.05
    assert max(rejected.values()) <= 150 * 0.05 + 3 * np.sqrt(150 * 0.05 * 0.95)


def test_runs_that_specialise_in_different_things_do_not_agree() -> None:
    halves = np.repeat([-1.0, 1.0], 24)
    alike, unlike = [], []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(3, 48))
        chroma = [branch_profile({"chroma": halves, "frequency": noise[i]}, 2, source=f"c{i}") for i in range(2)]
        frequency = branch_profile({"chroma": noise[2], "frequency": halves}, 2, source="f")
        alike.append(consistency(chroma, permutations=99).p_value)
        unlike.append(consistency([chroma[0], frequency], permutations=99).p_value)
    assert max(alike) <= 0.05
    assert np.mean(np.array(unlike) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_one_run_that_specialises_among_others_is_no_recurrence() -> None:
    p_values, unspecialised = [], []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        others = [run_of(generator.permutation(np.repeat(["colour", "black-and-white"], 32))) for _ in range(2)]
        found = consistency([colour_run(generator, moved=0), *others], permutations=99)
        p_values.append(found.p_value)
        unspecialised.append(found.p_unspecialised)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)
    assert np.mean(np.array(unspecialised) <= 0.05) > 0.5  # why that one is not the p-value


def test_branches_can_be_matched_by_name() -> None:
    labels = np.repeat(["x", "y"], 8)
    one = run_of(labels, {"1x1": range(8), "3x3": range(8, 16)}, 16)
    other = run_of(labels, {"3x3": range(8), "1x1": range(8, 16)}, 16)
    named = consistency([one, other], matching="name", permutations=99)
    assert (named.agreement, named.strength) == (0.0, -0.5)
    assert named.matches[1] == {"3x3": "3x3", "1x1": "1x1"}
    assert consistency([one, other], permutations=99).strength == 0.5


def test_runs_of_other_numbers_of_branches_are_matched_as_far_as_they_go() -> None:
    two = run_of(np.repeat(["x", "y"], 8), 2, 16)
    four = run_of(np.repeat(["y", "x", "x", "y"], 4), 4, 16)
    found = consistency([two, four], permutations=99)
    others = [other for matched in found.matches for other in matched.values()]
    assert found.notes == ("runs have two and four branches: of more, those like none stay without a match",)
    assert others.count(None) == (2 if found.reference == found.runs[0] else 0)
    assert found.strength == 0.5


def test_only_families_that_all_runs_have_are_compared() -> None:
    one, other = run_of(["x", "y", "x", "y"], 2, 4), run_of(["x", "z", "x", "x"], 2, 4)
    found = consistency([one, other], permutations=9)
    assert [each.family for each in found.recurrences] == ["x"]
    assert found.notes == ("left out, since not all runs have it: y and z",)
    assert found.runs == ("families, run 1", "families, run 2")


def test_units_without_a_figure_or_a_branch_do_not_count() -> None:
    values = np.array([0.0, 0.0, 1.0, 1.0, 50.0, np.nan])
    found = branch_profile({"chroma": values}, {"a": [0, 1, 5], "b": [2, 3]})
    np.testing.assert_allclose(found.values[:4, 0], [-1.0, -1.0, 1.0, 1.0])
    assert consistency([found, found], permutations=9).strength == 1.0


def test_rows_are_complete() -> None:
    found: Consistency = consistency([run_of(["x", "y"] * 4, 2, 8)] * 2, permutations=9)
    for table, columns in found.tables.items():
        assert all(tuple(row) == columns for row in found.rows(table))
    assert [row["runs"] for row in found.rows()] == [2, 2]
    assert len(found.rows("matches")) == 4


@pytest.mark.parametrize(
    ("runs", "options", "problem"),
    [
        ([run_of(["x", "y"], 2, 2)], {}, "one run: consistency needs two"),
        ([run_of(["x", "y"], 2, 2), run_of(["z", "w"], 2, 2)], {}, "no family or figure in common"),
        ([run_of(["x", "y"], 2, 2), branch_profile({"x": [0.0, 1.0]}, 2)], {}, "give one kind"),
        ([run_of(["x", "y"], 2, 2)] * 2, {"matching": "size"}, "matching must be"),
        ([run_of(["x", "y"], 2, 2)] * 2, {"permutations": 0}, "at least 1"),
        ([run_of([None, None], 2, 2)] * 2, {}, "no unit has both"),
        (
            [run_of(["x", "y"], {"a": [0], "b": [1]}, 2), run_of(["x", "y"], {"c": [0], "d": [1]}, 2)],
            {"matching": "name"},
            "no branch of the same name",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(
    runs: list[Specialization], options: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        consistency(runs, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("figures", [{}, {"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}])
def test_figures_that_are_none_are_refused(figures: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="one value a unit"):
        branch_profile(figures, 1)  # type: ignore[arg-type]
