"""Charts draw the rows they are given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas.atlas.charts import save_chart
from weightatlas.connectivity.drawing.coverage_chart import MOVES, coverage_chart, coverage_rows
from weightatlas.connectivity.drawing.curves_chart import KINDS, curve_rows, curves_chart, kind_of
from weightatlas.connectivity.drawing.layers_chart import (
    cumulative_chart,
    cumulative_rows,
    layer_bars,
    layers_chart,
    rank_rows,
    ranks_chart,
)
from weightatlas.connectivity.drawing.plane_chart import plane_chart, plane_rows

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.connectivity import Connection


def test_lines_are_told_apart_by_what_was_done(planted: Connection) -> None:
    assert tuple(kind_of(line) for line in planted.pairs[0].lines) == KINDS
    rows = curve_rows(planted)
    assert {row["kind"] for row in rows if row["best"]} == {KINDS[-1]}
    assert len(rows) == len(planted.rows("path"))


def test_one_pair_has_loss_and_error_and_several_a_panel_each(planted: Connection) -> None:
    single = curves_chart(replace(planted, pairs=planted.pairs[:1])).to_dict()
    assert len(single["hconcat"]) == 2
    several = curves_chart(planted).to_dict()
    assert [panel["title"] for panel in several["vconcat"][0]["hconcat"]] == list(planted.others)


def test_bars_are_marked_where_the_interval_is_above_nothing(planted: Connection) -> None:
    pair = planted.pairs[1]
    rows = layer_bars(pair)
    assert [row["layer"] for row in rows] == [one.layer for one in pair.layers]
    assert [row["beyond"] for row in rows] == [one.low > 0 for one in pair.layers]
    assert len(cumulative_rows(pair)) == 2 * len(rows)


def test_ranks_are_a_permutation_where_nothing_is_tied(planted: Connection) -> None:
    pair = planted.pairs[1]
    rows = rank_rows(pair)
    assert sorted(row["predicted_rank"] for row in rows) == [1, 2, 3, 4, 5]
    highest = max(pair.layers, key=lambda one: one.midpoint).layer
    assert max(rows, key=lambda row: row["measured_rank"])["layer"] == highest
    assert rank_rows(replace(pair, predicted={})) == []


def test_the_parts_of_a_network_make_the_whole(planted: Connection) -> None:
    assert planted.symmetries is not None
    rows = coverage_rows(planted.symmetries)
    assert rows[0]["part"] == MOVES
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    weights = sum(int(np.prod([axis.size for axis in axes])) for axes in planted.symmetries.layouts.values())
    assert sum(row["weights"] for row in rows) == pytest.approx(weights)


def test_the_plane_has_a_square_a_point(planted: Connection) -> None:
    drawn = planted.plane
    assert drawn is not None
    rows = plane_rows(drawn)
    assert len(rows) == drawn.losses.size
    at = next(row for row in rows if (row["x"], row["y"]) == (drawn.xs[3], drawn.ys[2]))
    assert at["loss"] == pytest.approx(drawn.losses[2, 3])


def test_they_all_render(planted: Connection, blind: Connection, tmp_path: Path) -> None:
    pair = planted.pairs[1]
    assert planted.plane is not None
    charts = (
        curves_chart(planted),
        curves_chart(replace(planted, pairs=planted.pairs[:1])),
        layers_chart(pair),
        cumulative_chart(pair),
        ranks_chart(pair),
        coverage_chart(blind),
        plane_chart(planted.plane),
    )
    for number, chart in enumerate(charts):
        path = tmp_path / f"{number}.svg"
        save_chart(chart.to_dict(), path)
        assert "<svg" in path.read_text(encoding="utf-8")
