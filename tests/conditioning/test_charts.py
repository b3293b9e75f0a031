from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conditioning.example_surveys import EVERY, layered, small
from weightatlas.atlas.charts import save_chart
from weightatlas.conditioning.charts import (
    APART,
    KINDS,
    LEAST,
    NAMED,
    plane_chart,
    plane_rows,
    positive_chart,
    positive_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.conditioning import Conditioning


@pytest.mark.parametrize("example", EVERY)
def test_charts_hold_finite_numbers_only(example: Callable[[], Conditioning]) -> None:
    for chart in (plane_chart(example()), positive_chart(example())):
        json.dumps(chart.to_dict(), allow_nan=False)


def test_the_plane_has_the_layers_behind_a_norm() -> None:
    rows = plane_rows(small())
    assert [(row["layer"], row["norm"]) for row in rows] == [("norm1", "batch"), ("norm2", "group")]
    assert all(row["norm"] in KINDS and 0 <= row["mean_floor"] <= row["mean_distance"] for row in rows)


@pytest.mark.parametrize("layers", [1, 100])
def test_names_on_the_plane_have_room(layers: int) -> None:
    rows = plane_rows(layered(layers))
    assert len(rows) == layers
    named = [row for row in rows if row["named"] is not None]
    assert 1 <= len(named) <= NAMED
    reach = [1.08 * max([0.1, *(row[field] for row in rows)]) for field in ("mean_distance", "std_distance")]
    for place, one in enumerate(named):
        for other in named[place + 1 :]:
            across = abs(one["mean_distance"] - other["mean_distance"]) / reach[0]
            up = abs(one["std_distance"] - other["std_distance"]) / reach[1]
            assert across > APART[0] or up > APART[1]


def test_quantiles_of_shares_are_in_their_order_and_on_the_axis() -> None:
    rows = positive_rows(small())
    assert [row["depth"] for row in rows] == [1, 2, 3]
    assert all(LEAST <= row["least"] <= row["low"] <= row["median"] <= row["high"] <= 1 for row in rows)
    assert rows[0]["least"] == LEAST
    assert rows[0]["dead"] == 0.5
    assert all(0 <= row["median_gaussian"] <= 1 for row in rows)


@pytest.mark.parametrize(("layers", "field"), [(1, "label"), (100, "depth")])
def test_layers_are_named_where_there_is_room(layers: int, field: str) -> None:
    spec = positive_chart(layered(layers)).to_dict()
    fields = {layer["encoding"]["x"]["field"] for layer in spec["layer"] if "field" in layer["encoding"].get("x", {})}
    assert fields == {field}


def test_charts_are_drawn(tmp_path: Path) -> None:
    for name, chart in (("plane", plane_chart(small())), ("positive", positive_chart(small()))):
        drawn = save_chart(chart.to_dict(), tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        assert drawn.count("norm1") >= 1
