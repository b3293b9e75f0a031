from __future__ import annotations

from tests.branching.example_surveys import grey, joined, planted, unbranched
from weightatlas import palette
from weightatlas.branching.drawing.tuned_groups import panels, tuned_groups, unit_rows


def test_groups_of_one_weight_are_columns_of_its_layer() -> None:
    (group,) = tuned_groups(planted())
    assert (group.layer, group.by_branch, group.units, group.colour) == ("conv1", True, 12, 6)
    assert [(column.title, column.colour, column.kernel) for column in group.columns] == [
        ("group 1", 0, "7×7"),
        ("group 2", 6, "7×7"),
    ]


def test_paths_that_are_joined_are_columns_of_one_group_numbered_as_joined() -> None:
    found = joined()
    (group,) = tuned_groups(found)
    (branching,) = found.branchings
    assert group.layer == branching.layer
    assert not group.one_size
    for column in group.columns:
        (branch,) = [branch for branch in branching.branches if branch.layer == column.layer.layer]
        assert column.units.tolist() == branch.units.tolist()
        assert column.rows.tolist() == branch.rows.tolist()


def test_columns_side_by_side_have_colours_of_their_own_and_none_is_grey() -> None:
    for found in (planted(), joined()):
        (group,) = tuned_groups(found)
        colours = [palette.CATEGORIES[column.category] for column in group.columns]
        assert len(set(colours)) == len(colours)
        assert palette.GREY not in colours


def test_without_branches_every_unit_stands_in_the_column_of_its_class() -> None:
    (group,) = tuned_groups(unbranched())
    assert not group.by_branch
    assert sorted(unit for column in group.columns for unit in column.units.tolist()) == list(range(6))
    assert {row["class"] for row in unit_rows([group])} == set(panels([group]))


def test_a_network_that_reads_no_image_has_no_group() -> None:
    assert tuned_groups(grey()) == ()
    assert unit_rows(()) == []
