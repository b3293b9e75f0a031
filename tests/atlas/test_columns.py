from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.atlas.plates_for_tests import Given, column, columns, images, slide, slides
from weightatlas.atlas.chapters import gather
from weightatlas.atlas.columns import ColumnsView, across, branch_specimens, columns_view
from weightatlas.atlas.slides import slide_anchors
from weightatlas.plate import ColumnGroup, Columns, UnitColumn


def view(drawn: Columns) -> ColumnsView:
    (chapter,) = gather(Given("a", (drawn,)))
    return columns_view(chapter.plates[0], drawn, chapter)


def group(*branches: UnitColumn, layer: str = "conv1") -> ColumnGroup:
    return ColumnGroup(layer, branches)


def test_units_stand_on_their_sheet_in_order_of_the_first_measure_the_unknown_last() -> None:
    drawn = replace(column("a", 4), measures={"chroma": np.array([0.2, np.nan, 0.9, 0.5])})
    (shown,) = view(columns([group(drawn)])).layers[0].columns
    with Image.open(io.BytesIO(base64.b64decode(shown.sheet.uri.partition(",")[2]))) as sheet:
        pixels = np.asarray(sheet)[:5, :, :3]
    cells = [pixels[:, place * 6 : place * 6 + 5] for place in range(4)]
    for cell, unit in zip(cells, (2, 3, 0, 1), strict=True):
        assert np.array_equal(cell, drawn.images[unit])


def test_data_are_json_and_say_what_each_unit_is_called() -> None:
    data = view(columns([group(column("a", 3), column("b", 2, first=10))])).layers[0].data
    assert [part["numbers"] for part in data["columns"]] == [[0, 1, 2], [10, 11]]
    assert data["columns"][1]["labels"] == {"class": ["other", "Gabor"]}
    assert data["columns"][1]["layer"] == "conv1, b"
    json.dumps(data, allow_nan=False)


def test_units_without_numbers_are_counted_from_zero() -> None:
    data = view(columns([group(UnitColumn("a", images(3, 5, 0)))])).layers[0].data
    assert data["columns"][0]["numbers"] == [0, 1, 2]


def test_all_columns_of_a_layer_have_one_scale() -> None:
    data = view(columns([group(column("a", size=3), column("b", size=11), column("c", units=0, size=40))])).layers[0]
    assert data.data["widest"] == 11


def test_pictures_keep_their_size_and_kernels_are_magnified() -> None:
    kernels, pictures = view(columns([group(column("a", size=7)), group(column("a", size=64), layer="deep")])).layers
    assert kernels.data["size"] > 7
    assert pictures.data["size"] == 64


def test_measures_come_before_labels_once_each() -> None:
    other = UnitColumn("b", images(2, 5, 0), measures={"chroma": np.zeros(2), "age": np.zeros(2)})
    assert view(columns([group(column("a"), other)])).measures == ("chroma", "norm", "age", "class")


@given(st.integers(1, 60), st.integers(1, 12))
def test_columns_stand_in_rows_about_as_long_as_each_other(count: int, most: int) -> None:
    side = across(count, most)
    rows = -(-count // side)
    assert side <= most
    assert rows == -(-count // most)
    assert rows * side - count < rows


@pytest.mark.parametrize("broken", ["units", "labels", "measures"])
def test_what_does_not_fit_the_units_is_refused(broken: str) -> None:
    drawn = column("a", 3)
    wrong = {
        "units": replace(drawn, units=np.arange(2)),
        "labels": replace(drawn, labels={"class": ("Gabor",)}),
        "measures": replace(drawn, measures={"chroma": np.zeros(2)}),
    }[broken]
    with pytest.raises(ValueError, match="'a'" if broken != "measures" else "conv1, a"):
        view(columns([group(wrong)]))


def test_slides_have_the_short_links_and_columns_those_of_their_plate() -> None:
    drawn, tissue = columns([group(column("a"))]), slides([slide("conv1")])
    (chapter,) = gather(Given("a", (drawn, tissue)))
    assert slide_anchors(chapter.plates[0], ["conv1"], chapter) == ["plate/columns/layer/conv1"]
    assert slide_anchors(chapter.plates[1], ["conv1"], chapter) == ["layer/conv1"]
    (alone,) = gather(Given("a", (drawn,)))
    assert slide_anchors(alone.plates[0], ["conv1"], alone) == ["layer/conv1"]


def test_the_cover_shows_the_branches_of_the_first_layer_that_has_units() -> None:
    drawn = columns([group(column("none", 0)), group(column("a"), column("b", 0), column("c"), layer="conv2")])
    shown = branch_specimens(drawn, ["layer/conv1", "layer/conv2"])
    assert [(specimen.layer, specimen.anchor) for specimen in shown] == [("a", "layer/conv2"), ("c", "layer/conv2")]
    assert branch_specimens(columns([]), []) == []


def test_a_plate_without_units_is_drawn() -> None:
    assert view(columns([])).layers == ()
    empty = view(columns([group(column("none", 0))])).layers[0]
    assert empty.units == 0
    assert empty.columns[0].sheet.uri == ""
