from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.experiments.micro_batches_for_tests import FAR, NEAR, made
from weightatlas.lab.experiments.micro_batch_charts import (
    LABELS,
    course_chart,
    course_rows,
    panel,
    score_rows,
    scores_chart,
)
from weightatlas.lab.experiments.micro_batch_variants import DISTANCES, SMOOTHNESS

if TYPE_CHECKING:
    from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult

PANELS = ["batches of 16", "batches of 1", "masks, batches of 16", "masks, batches of 1"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> MicroBatchResult:
    return made(tmp_path_factory.mktemp("quick"))


def rows_of(spec: dict[str, Any], page: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a facet of a page draws, where no layer in it has others."""
    parts = spec["spec"].get("layer", [spec["spec"]])
    assert not any("data" in part for part in parts), "a part with data of its own draws all of them in every panel"
    rows: list[dict[str, Any]] = page["datasets"][spec["data"]["name"]]
    return rows


def test_every_run_is_a_dot_beside_the_interval_of_its_variant(quick: MicroBatchResult) -> None:
    rows = score_rows(quick)
    assert sorted((row["variant"], row["seed"]) for row in rows) == sorted(
        (variant, seed) for variant in {row["variant"] for row in rows} for seed in (1, 2, 3)
    )
    assert len(rows) == len(quick.runs)
    for row in rows:
        own = [one["score"] for one in rows if one["variant"] == row["variant"]]
        assert row["mean"] == pytest.approx(sum(own) / 3)
        assert row["low"] < row["mean"] < row["high"]
        assert quick.values(row["variant"], "score")[row["seed"]] == row["score"]


def test_scores_stand_in_a_panel_a_task_and_batch_with_the_methods_in_their_order(quick: MicroBatchResult) -> None:
    assert [panel(task, batch) for task in ("classes", "masks") for batch in (16, 1)] == PANELS
    spec = scores_chart(quick).to_dict()
    assert set(spec["facet"]["sort"]) == {row["panel"] for row in rows_of(spec, spec)} == set(PANELS)
    layers = spec["spec"]["layer"]
    assert {tuple(layer["encoding"]["y"]["sort"]) for layer in layers} == {("bn", "gn", "gn-ws", "bcn", "bcn-ws")}
    assert {tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in layers} == {(0, 1)}


def test_a_method_that_a_preset_adds_stands_behind_the_known_ones(quick: MicroBatchResult) -> None:
    def renamed(name: str) -> str:
        return name.replace("gn-ws", "extra") if name.startswith("gn-ws") else name

    variants = tuple(replace(one, name=renamed(one.name), against=None, claims=()) for one in quick.experiment.variants)
    runs = tuple(replace(one, variant=renamed(one.variant)) for one in quick.runs)
    other = replace(quick, experiment=replace(quick.experiment, variants=variants), runs=runs)
    layers = scores_chart(other).to_dict()["spec"]["layer"]
    assert layers[0]["encoding"]["y"]["sort"] == ["bn", "gn", "gn-ws", "bcn", "bcn-ws", "extra"]


def test_the_course_is_the_mean_of_the_seeds_where_something_was_measured(quick: MicroBatchResult) -> None:
    rows = course_rows(quick, SMOOTHNESS)
    own = [row for row in rows if row["variant"] == "gn.b1"]
    loss, gradient = ([row for row in own if row["measure"] == LABELS[measure]] for measure in SMOOTHNESS)
    assert [row["progress"] for row in loss] == [0, 0.5, 1]
    assert [row["progress"] for row in gradient] == [0.5, 1], "its first entry is NaN"
    assert {row["seeds"] for row in own} == {3}
    assert {row["panel"] for row in own} == {"batches of 1"}
    assert loss[0]["value"] == pytest.approx(2.0, abs=0.002)


def test_every_measure_of_the_course_has_a_row_of_panels_of_its_own_values(quick: MicroBatchResult) -> None:
    page = course_chart(quick, DISTANCES).to_dict()
    charts = page["vconcat"]
    assert [chart["spec"]["encoding"]["y"]["title"] for chart in charts] == [LABELS[measure] for measure in DISTANCES]
    for chart, measure in zip(charts, DISTANCES, strict=True):
        rows = rows_of(chart, page)
        assert {row["measure"] for row in rows} == {LABELS[measure]}
        assert set(chart["facet"]["sort"]) == set(PANELS)
        if measure == "mean_distance":
            planted = {row["method"]: row["value"] for row in rows}
            assert planted["bcn"] == pytest.approx(NEAR, abs=0.003)
            assert planted["gn"] == pytest.approx(FAR, abs=0.003)
