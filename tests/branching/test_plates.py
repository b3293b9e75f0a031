from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vl_convert

from tests.branching.example_surveys import deep, degenerate, grey, joined, planted, run, unbranched, wide
from weightatlas.atlas import write_atlas
from weightatlas.branching.pictures.kernels import GREY
from weightatlas.plate import Chart, Columns, Slides, Strip, Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.branching.survey import BranchingSurvey

SURVEYS: dict[str, Callable[[], BranchingSurvey]] = {
    "planted": planted,
    "joined": joined,
    "unbranched": unbranched,
    "one unit": lambda: unbranched(1),
    "1x1 kernels": lambda: unbranched(6, 1),
    "grey": grey,
    "run": run,
    "never": lambda: run(begins=None),
    "in pieces": degenerate,
    "two branches": lambda: wide(2),
    "forty branches": lambda: wide(40),
    "three layers": lambda: deep(3),
    "three hundred layers": lambda: deep(300),
}


def figures(found: BranchingSurvey) -> dict[str, Any]:
    return {plate.heading.key: plate for plate in found.plates() if isinstance(plate, Chart | Columns | Slides | Table)}


@pytest.mark.parametrize("name", SURVEYS)
def test_every_plate_can_be_drawn_and_says_how_to_read_it(name: str, tmp_path: Path) -> None:
    found = SURVEYS[name]()
    for plate in figures(found).values():
        heading = plate.heading
        assert heading.title
        assert not heading.title.endswith(".")
        assert heading.reading.endswith(".")
        assert heading.method.endswith(".")
        if isinstance(plate, Chart):
            assert heading.null.endswith(".")
            assert vl_convert.vegalite_to_svg(json.dumps(plate.spec)).startswith("<svg")
    assert write_atlas(found, tmp_path / "atlas.html").stat().st_size < 2_000_000


def test_what_there_is_nothing_to_show_of_has_no_plate() -> None:
    assert list(figures(grey())) == ["hidden"]
    assert not any(row["skipped"] is None for row in figures(grey())["hidden"].rows)
    assert "branches" not in figures(unbranched())
    assert "families" not in figures(unbranched())


def test_a_planted_network_has_all_plates_in_order() -> None:
    assert list(figures(run())) == [
        "columns",
        "branches",
        "tuning",
        "orientations",
        "families",
        "information",
        "hidden",
        "matrices",
        "clusterability",
        "cluster-shares",
        "onset",
    ]


def test_units_stand_in_their_branch_with_what_they_measure() -> None:
    (group,) = figures(planted())["columns"].groups
    assert [column.title for column in group.columns] == ["group 1", "group 2"]
    assert [column.units.tolist() for column in group.columns] == [list(range(6)), list(range(6, 12))]
    assert group.columns[0].measures["chroma"].max() < 0.01
    assert set(group.columns[0].labels["class"]) == {"Gabor"}
    assert "6 see colour" in group.columns[1].facts


def test_joined_branches_stand_in_one_group_numbered_as_in_the_joined_layer() -> None:
    (group,) = figures(joined())["columns"].groups
    assert sorted(unit for column in group.columns for unit in column.units.tolist()) == list(range(16))
    sizes = {column.images.shape[1:] for column in group.columns}
    assert sizes == {(5, 5, 3)}
    small = next(column for column in group.columns if "kernels 3×3" in column.facts)
    assert (small.images[:, 0] == GREY).all()
    assert (small.images[:, 1:4, 1:4] != GREY).any()


def test_without_branches_columns_are_classes() -> None:
    (group,) = figures(unbranched())["columns"].groups
    for column in group.columns:
        assert set(column.labels["class"]) == {column.title}
    assert sum(len(column.images) for column in group.columns) == 6


def test_units_that_could_not_be_measured_are_said() -> None:
    whole = planted()
    tuned = next(layer for layer in whole.layers if layer.tuning is not None)
    assert tuned.tuning is not None
    chroma = tuned.tuning.chroma.copy()
    chroma[3] = np.nan
    without = replace(tuned, tuning=replace(tuned.tuning, chroma=chroma, skipped={3: "it is zero"}))
    layers = tuple(without if layer is tuned else layer for layer in whole.layers)
    (group,) = figures(replace(whole, layers=layers))["columns"].groups
    assert group.note == "One unit could not be measured and stands last."


def test_pairs_stand_beside_their_null_and_are_marked_where_they_stand_out() -> None:
    found = planted()
    table = figures(found)["hidden"]
    looked = [(row, pair) for row, pair in zip(table.rows, found.pairs, strict=True) if pair.hidden is not None]
    assert looked
    for row, pair in looked:
        assert pair.hidden is not None
        assert isinstance(row["strip"], Strip)
        assert row["strip"].low <= pair.hidden.null_mean[0] <= row["strip"].high
        assert row["share"] == pair.hidden.shares[0]
    assert [row["skipped"] for row in table.rows if row["skipped"]]


def test_titles_state_what_was_found() -> None:
    found = figures(planted())
    assert found["columns"].heading.title == "In conv1, 100% of group 2 see colour, 0% of group 1"
    assert found["families"].heading.title.startswith("Colour units gather in group 2 of conv1: 6 of 6")
    assert found["information"].heading.title.startswith(
        "Families by colour share 1.00 bits with the branches of conv1"
    )
