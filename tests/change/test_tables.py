from __future__ import annotations

import json

import numpy as np
import pytest

from tests.change.example_changes import example, told
from weightatlas.change.tables import COLUMNS, NO_FIGURES
from weightatlas.checkpoints import Skipped
from weightatlas.result import json_array

GONE = "layer2 is not in step 3"


@pytest.mark.parametrize("table", list(COLUMNS))
def test_rows_have_the_columns_and_are_json(table: str) -> None:
    changes = told(example(8, 6, missing={(1, 2): GONE}, skipped=[Skipped("step-9.pt", "cannot be opened")]))
    rows = changes.rows(table)
    assert rows
    assert all(tuple(row) == COLUMNS[table] for row in rows)
    assert json.loads(json_array(rows)) == rows


def test_a_step_without_figures_is_a_row_with_its_reason() -> None:
    changes = example(4, 5, missing={(1, 2): GONE})
    rows = [row for row in changes.rows("steps") if row["skipped"]]
    assert [(row["layer"], row["step"], row["ratio_l1"], row["skipped"]) for row in rows] == [
        ("block0.conv1", 3, None, GONE)
    ]
    assert len(changes.rows("steps")) == 4 * 5


def test_figures_stand_as_they_were_measured() -> None:
    changes = example(3, 4)
    for row in changes.rows("steps"):
        layer = next(layer for layer in changes.layers if layer.layer == row["layer"])
        place = changes.steps.index(row["step"])
        assert row["ratio_l1"] == layer.figures["ratio_l1"][place]
        assert row["since"] == changes.since[place]
        assert row["cosine"] is None
        assert type(row["zeros"]) is int


def test_weights_that_are_and_stay_zero_are_said_to_be() -> None:
    changes = example(2, 3)
    changes.layers[1].figures["ratio_l1"][1] = np.nan
    assert [row["skipped"] for row in changes.rows("steps")].count(NO_FIGURES) == 1


def test_what_was_left_out_of_the_run_is_in_both_tables() -> None:
    changes = example(2, 3, skipped=[Skipped("step-9.pt", "cannot be opened")])
    for table in ("steps", "layers"):
        assert changes.rows(table)[-1]["layer"] == "step-9.pt"
        assert changes.rows(table)[-1]["skipped"] == "cannot be opened"


def test_a_layer_without_any_figure_is_skipped_with_each_reason_once() -> None:
    reasons = {(0, 0): "it is not there yet", (0, 1): GONE, (0, 2): GONE}
    rows = example(2, 3, missing=reasons).rows("layers")
    assert rows[0]["skipped"] == f"it is not there yet; {GONE}"
    assert rows[1]["skipped"] is None


def test_layers_say_their_cluster_and_when_they_stopped() -> None:
    changes = told(example(8, 12, stopped={5: 4}), alone=[5])
    rows = {row["layer"]: row for row in changes.rows("layers")}
    assert rows["block2.conv1"]["stopped_at"] == 5
    assert rows["block2.conv1"]["cluster"] is None
    assert "no other layer" in rows["block2.conv1"]["outlier"]
    assert rows["block0.conv0"]["cluster"] == 1
    assert rows["block3.conv1"]["cluster"] == 0
    assert rows["block0.conv0"]["stopped_at"] is None


def test_clusters_hold_every_layer_once() -> None:
    changes = told(example(9, 6, groups=3), groups=3)
    rows = changes.rows("clusters")
    assert sorted(layer for row in rows for layer in row["layers"]) == sorted(changes.names)
    moves = [row["ratio_l1_median"] for row in rows]
    assert moves == sorted(moves, reverse=True)


def test_a_run_too_short_for_clusters_says_so() -> None:
    (row,) = example(4, 2).rows("clusters")
    assert row["skipped"] == "three checkpoints: too few to tell which layers move alike"
