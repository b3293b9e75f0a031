from __future__ import annotations

import numpy as np
import pytest

from tests.lab.experiments.branches_for_tests import LARGENESS, NARROWNESS, UNITS, made
from weightatlas.lab.experiments.branch_result import BranchExperimentResult, twin_figures


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BranchExperimentResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_rows_have_the_columns_of_their_table(result: BranchExperimentResult) -> None:
    for table, columns in result.tables.items():
        rows = result.rows(table)
        assert rows
        assert all(tuple(row) == columns for row in rows)


def test_a_terminal_shows_columns_that_there_are() -> None:
    for table, shown in BranchExperimentResult.terminal.items():
        assert {key for key, _ in shown} <= set(BranchExperimentResult.tables[table])


def test_verdicts_follow_what_was_planted(result: BranchExperimentResult) -> None:
    found = {
        (row["variant"], row["measure"], row["expected"]): row["verdict"]
        for row in result.rows("effects")
        if row["expected"] is not None
    }
    assert found["two-branches", "separation", "present"] == "agrees"
    assert found["four-branches", "excess", "present"] == "agrees"
    assert found["two-branches", "frequency_separation", "present"] != "agrees"
    assert found["alexnet", "separation", "present"] != "agrees"
    assert found["one-branch", "hidden_chroma", "present"] == "agrees"
    assert found["one-branch", "hidden_second_frequency", "present"] == "disagrees"
    assert found["narrow-large", "chroma_narrow", "higher"] == "agrees"
    assert found["narrow-large", "chroma_large", "higher"] == "agrees"
    assert found["equal", "separation", "present"] != "agrees"
    assert found["deep", "block_excess", "present"] == "agrees"
    assert found["deep", "block_separation", "higher"] == "agrees"


def test_crossing_takes_width_and_kernel_size_apart(result: BranchExperimentResult) -> None:
    """From narrow-small to narrow-large one figure rises by twice what kernels do, the other by twice width."""
    effects = {row["measure"]: row["effect"] for row in result.rows("effects") if row["variant"] == "narrow-large"}
    assert effects["chroma_narrow"] == pytest.approx(2 * LARGENESS, abs=0.02)
    assert effects["chroma_large"] == pytest.approx(2 * NARROWNESS, abs=0.02)


def test_each_branch_has_a_row_and_hidden_halves_say_so(result: BranchExperimentResult) -> None:
    rows = [row for row in result.rows("branches") if row["seed"] == 1]
    counts = {name: sum(row["variant"] == name for row in rows) for name in ("one-branch", "four-branches", "widths")}
    assert counts == {"one-branch": 2, "four-branches": 4, "widths": 2}
    assert {row["variant"] for row in rows if row["hidden"]} == {"one-branch", "alexnet-one-group"}
    assert sum(row["colour_units"] for row in rows if row["variant"] == "two-branches") == UNITS // 2
    narrow = [(row["units"], row["kernel"]) for row in rows if row["variant"] == "narrow-small"]
    assert narrow == [(8, 3), (24, 7)]


def test_recurrence_finds_branches_that_differ_alike_in_every_seed(result: BranchExperimentResult) -> None:
    rows = {(row["variant"], row["figure"]): row for row in result.rows("recurrence")}
    assert rows["two-branches", "chroma"]["p_value"] < 0.01
    assert rows["two-branches", "frequency"]["p_value"] > 0.01
    assert rows["two-branches", "chroma"]["seeds"] == 3
    assert not any(variant in ("shallow", "deep") for variant, _ in rows)


def test_a_branched_network_stands_beside_its_twin_of_the_same_seed(result: BranchExperimentResult) -> None:
    rows = result.rows("twins")
    assert [(row["variant"], row["twin"]) for row in rows[::3]] == [
        ("two-branches", "one-branch"),
        ("four-branches", "one-branch"),
        ("alexnet", "alexnet-one-group"),
    ]
    assert {row["seed"] for row in rows} == {1, 2, 3}


def test_twins_are_compared_unit_by_unit() -> None:
    chroma = np.linspace(0, 1, 8)
    branch = np.arange(8) // 4
    twin = {"first/chroma": chroma**2, "hidden/axes": -np.stack([chroma, chroma], axis=1)}
    found = twin_figures({"first/chroma": chroma, "first/branch": branch}, twin)
    assert found["chroma_with_twin"] == pytest.approx(1)
    assert found["axis_with_chroma"] == pytest.approx(1), "the sign of an axis is arbitrary"
    assert found["axis_separation"] == pytest.approx(1 - (1 - 16 / 21) * 7 / 6)
    shuffled = twin_figures({"first/chroma": chroma[::-1], "first/branch": branch}, twin)
    assert shuffled["chroma_with_twin"] == pytest.approx(-1)


def test_blocks_are_counted_by_family(result: BranchExperimentResult) -> None:
    rows = [row for row in result.rows("blocks") if (row["variant"], row["seed"]) == ("deep", 1)]
    assert {(row["block"], row["family"]): row["units"] for row in rows} == {
        ("layer1.0", "colour"): 8,
        ("layer1.0", "other"): 0,
        ("layer1.1", "colour"): 4,
        ("layer1.1", "other"): 8,
    }
