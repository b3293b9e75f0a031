from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vl_convert

from tests.change.example_changes import ROLES, depth_example, example, told
from weightatlas import palette
from weightatlas.change.charts import curves_chart, curves_rows, pair_chart
from weightatlas.change.clusters.pipeline import Pipeline
from weightatlas.change.drawing.cluster_charts import scree_chart
from weightatlas.change.drawing.cluster_map import map_chart, map_rows
from weightatlas.change.drawing.heat_map import colour_reach, heat_map, heat_map_rows, over_median
from weightatlas.change.drawing.layer_charts import depth_chart, depth_rows, stopped_chart
from weightatlas.change.drawing.outlier_chart import outliers_chart, outlying
from weightatlas.change.trends import trends

if TYPE_CHECKING:
    from pathlib import Path

    import altair as alt

    from weightatlas.change.changes import Changes

HEAVIEST = 150_000
"""Characters that one chart's specification may have."""


def told_run(layers: int = 12, steps: int = 9, *, every: int = 1) -> Changes:
    changes = example(layers, steps, stopped={3: 2}, missing={(1, 2): "gone"}, every=every)
    return told(changes, alone=[3], replaced={5: (3, 4)}, depth=depth_example())


def every_chart(changes: Changes) -> dict[str, Any]:
    assert changes.trends is not None
    assert changes.stopped is not None
    assert changes.depth is not None
    return {
        "curves": curves_chart(changes),
        "heat map": heat_map(changes),
        "relative heat map": heat_map(changes, relative=True),
        "map": map_chart(changes.trends),
        "scree": scree_chart(changes.trends),
        "outliers": outliers_chart(changes, changes.trends),
        "stopped": stopped_chart(changes, changes.stopped),
        "depth": depth_chart(changes, changes.depth),
    }


def vega_data(chart: alt.TopLevelMixin) -> dict[str, list[dict[str, Any]]]:
    """The data of a chart, by the names Vega-Lite gives them."""
    compiled = vl_convert.vegalite_to_vega(json.dumps(chart.to_dict()))
    return {source["name"]: source["values"] for source in compiled["data"] if "values" in source}


def colours(part: object) -> set[str]:
    """Every colour in a specification, its data left out."""
    if isinstance(part, str):
        return {part} if part.startswith("#") else set()
    if isinstance(part, dict):
        return {colour for key, value in part.items() if key != "data" for colour in colours(value)}
    return {colour for value in part for colour in colours(value)} if isinstance(part, list) else set()


def test_charts_are_drawn_in_the_colours_of_the_house() -> None:
    known = {
        palette.INK,
        palette.GREY,
        palette.RULE,
        palette.NULL,
        *palette.CATEGORIES,
        *palette.SEQUENTIAL,
        *palette.DIVERGING,
    }
    for name, chart in every_chart(told_run()).items():
        spec = chart.to_dict()
        assert colours(spec) <= known, name
        assert vl_convert.vegalite_to_svg(json.dumps(spec)).startswith("<svg"), name


def test_a_large_run_makes_light_charts_with_all_its_layers() -> None:
    changes = told_run(300, 200, every=500)
    for name, chart in every_chart(changes).items():
        assert len(json.dumps(chart.to_dict())) < HEAVIEST, name
    rows = curves_rows(changes)
    assert [row["layer"] for row in rows] == list(changes.names)
    assert len(rows) * (len(rows[0]) - 3) <= 6000


def test_a_run_of_very_many_layers_joins_neighbours_in_the_heat_map() -> None:
    rows = heat_map_rows(example(1200, 40))
    assert len(rows) * (len(rows[0]) - 1) <= 6000
    assert rows[0]["layer"] == "block0.conv0 to block0.conv1"


def test_cells_hold_the_change_and_empty_ones_stay_empty() -> None:
    changes = example(4, 5, missing={(1, 2): "gone"})
    rows = heat_map_rows(changes)
    np.testing.assert_allclose(
        np.array([[row[f"{step}"] for step in changes.steps] for row in rows], dtype=float),
        changes.curves(),
        rtol=5e-3,
    )
    assert rows[1]["3"] is None


def test_relative_cells_are_over_the_median_layer_of_their_step() -> None:
    changes = example(3, 3)
    for layer, values in zip(changes.layers, ([1.0, 2.0, 0.0], [3.0, 4.0, 0.0], [5.0, np.nan, 7.0]), strict=True):
        layer.figures["ratio_l1"][:] = values
    np.testing.assert_allclose(over_median(changes), [[1 / 3, 2 / 3, 0], [1, 4 / 3, 0], [5 / 3, np.nan, 1]])


def test_relative_cells_have_the_measure_that_layers_are_judged_by() -> None:
    changes = told(example(6, 8))
    assert changes.stopped is not None
    np.testing.assert_allclose(over_median(changes), changes.stopped.relative)


@pytest.mark.parametrize(("most", "reach"), [(1.1, 2.0), (3.0, 5.0), (400.0, 10.0)])
def test_colours_reach_as_far_as_the_values_up_to_ten_times(most: float, reach: float) -> None:
    assert colour_reach(np.array([1 / most, 1.0, most])) == reach


def test_a_line_runs_through_layers_that_have_stopped_and_no_others() -> None:
    marked = json.dumps(heat_map(told_run()).to_dict())
    assert '"text": "since 3"' in marked
    assert '"text": "since' not in json.dumps(heat_map(told(example(8, 9))).to_dict())


def test_curves_are_coloured_by_what_moves_alike() -> None:
    (lines,) = (
        values
        for values in vega_data(curves_chart(told_run())).values()
        if values and {"layer", "line"} <= set(values[0])
    )
    assert {row["layer"]: row["line"] for row in lines}["block1.conv1"] == "no cluster"
    assert {row["line"] for row in lines} == {"no cluster", "0 · 6 layers", "1 · 5 layers"}


def test_groups_of_layers_have_panels_of_their_own() -> None:
    changes = told(example(32, 9, roles=ROLES), by_role=True)
    text = json.dumps(curves_chart(changes).to_dict())
    assert all(f'"{role}, 8 layers"' in text for role in ROLES)


def test_one_step_is_a_dot_a_layer() -> None:
    changes = example(5, 1)
    assert curves_chart(changes).to_dict() == pair_chart(changes).to_dict()
    dots = next(values for values in vega_data(pair_chart(changes)).values() if len(values) == 5)
    np.testing.assert_allclose([row["ratio"] for row in dots], changes.curves()[:, 0], rtol=1e-3)


def test_layers_that_did_not_move_lie_at_the_foot() -> None:
    changes = example(6, 8)
    changes.layers[2].figures["ratio_l1"][:] = 0.0
    lines = next(values for values in vega_data(curves_chart(changes)).values() if values and "layer" in values[0])
    foot = min(min(row["ratio"]) for row in lines)
    assert set(lines[2]["ratio"]) == {foot}
    assert foot > 0


def test_the_map_says_where_each_layer_lies_and_names_the_outlier() -> None:
    changes = told_run()
    assert changes.trends is not None
    rows = {row["layer"]: row for row in map_rows(changes.trends)}
    assert rows["block1.conv1"]["left_out"] == "moves like no other layer"
    assert rows["block0.conv0"]["first_component"] == pytest.approx(changes.trends.layers[0].coordinates[0], rel=1e-3)
    assert '"text": "block1.conv1"' in json.dumps(map_chart(changes.trends).to_dict())


def test_outliers_are_those_left_out_and_those_with_values_replaced() -> None:
    changes = told_run()
    assert changes.trends is not None
    assert [layer.name for layer in outlying(changes.trends)] == ["block1.conv1", "block2.conv1"]
    rings = [
        (row["layer"], row["step"])
        for values in vega_data(outliers_chart(changes, changes.trends)).values()
        for row in values
        if {"layer", "step"} <= set(row)
    ]
    assert rings == [("block2.conv1", 4), ("block2.conv1", 5)]


def test_ranks_given_size_have_nothing_left_of_size() -> None:
    rows = depth_rows(example(24, 5, groups=3))
    sizes = np.array([row["parameters"] for row in rows], dtype=float)
    ranks = np.argsort(np.argsort(sizes, kind="stable")).astype(float)
    for size in np.unique(sizes):
        ranks[sizes == size] = ranks[sizes == size].mean()
    for name in ("depth_given_size", "change_given_size"):
        left = np.array([row[name] for row in rows])
        assert abs(np.corrcoef(left, ranks)[0, 1]) < 1e-3


def test_the_figure_of_a_paper_is_saved(tmp_path: Path) -> None:
    changes = told_run()
    assert changes.save(tmp_path / "curves.svg").read_text().startswith("<svg")
    assert changes.save(tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")


def test_what_the_analysis_finds_can_be_drawn() -> None:
    changes = example(16, 10, groups=2)
    found = trends(changes.curves(), names=changes.names, pipeline=Pipeline(nulls=9, resamples=4, inits=5))
    assert vl_convert.vegalite_to_svg(json.dumps(map_chart(found).to_dict())).startswith("<svg")
    assert vl_convert.vegalite_to_svg(json.dumps(scree_chart(found).to_dict())).startswith("<svg")
