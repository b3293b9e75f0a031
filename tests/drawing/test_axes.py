from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.drawing.axes import (
    NAMES_UP_TO,
    LogRange,
    axis_names,
    depth_axis,
    inline,
    names_axis,
    round_ticks,
    series,
    spread,
    step_axis,
    whole_ticks,
)

positive = st.floats(1e-12, 1e6)


@settings(max_examples=40)
@given(st.lists(positive, min_size=1), st.floats(0, 1e-3))
def test_every_value_has_a_place_on_the_axis(values: list[float], floor: float) -> None:
    reach = LogRange([*values, 0.0, math.nan, math.inf], floor=floor)
    places = [reach.placed(value) for value in values]
    assert all(place is not None and reach.low <= place <= reach.high for place in places)
    assert reach.placed(0.0) == reach.low
    assert reach.placed(math.nan) is None


def test_the_foot_says_what_lies_there() -> None:
    assert LogRange([0.1, 1.0]).foot is None
    assert LogRange([0.1, 1.0, 0.0]).foot == "0"
    assert LogRange([0.1, 1.0, 1e-9]).foot == "less"
    assert LogRange([0.0, np.nan]).foot == "0"


@settings(max_examples=40)
@given(positive, st.floats(1.5, 1e9))
def test_ticks_are_few_and_within(low: float, times: float) -> None:
    ticks = round_ticks(low, low * times)
    assert all(low <= tick <= low * times for tick in ticks)
    assert len(ticks) <= 6


@settings(max_examples=40)
@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_whole_ticks_are_whole_even_and_few(first: int, more: int) -> None:
    ticks = whole_ticks(first, first + more)
    assert len(ticks) <= 13
    assert all(first <= tick <= first + more for tick in ticks)
    assert len({later - sooner for sooner, later in itertools.pairwise(ticks)}) <= 1


def test_steps_spread_by_their_logarithm_lie_on_such_an_axis() -> None:
    log, even = step_axis([1, 2, 4, 8, 16, 32, 64, 128], "step"), step_axis(list(range(1, 129)), "step")
    assert '"type": "log"' in json.dumps(log.to_dict())
    assert '"type": "log"' not in json.dumps(even.to_dict())


@settings(max_examples=40)
@given(st.lists(st.floats(0, 300), max_size=12))
def test_labels_keep_their_order_and_their_distance(places: list[float]) -> None:
    moved = spread(places, 10)
    order = np.argsort(places, kind="stable")
    apart = np.diff(np.array(moved)[order]) if len(places) > 1 else np.array([10.0])
    assert apart.min() >= 10 - 1e-6


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread([100.0, 5.0, 50.0], 10) == [100.0, 5.0, 50.0]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["conv1"], ["conv1"]),
        (["features.0", "features.10"], ["0", "10"]),
        (["layer1.conv", "layer2.conv"], ["layer1.conv", "layer2.conv"]),
        (["a" * 50, "b"], ["…" + "a" * 29, "b"]),
    ],
)
def test_names_lose_what_they_share(names: list[str], short: list[str]) -> None:
    assert axis_names(names) == short


@pytest.mark.parametrize(
    ("layers", "names", "field"),
    [(1, True, "label"), (NAMES_UP_TO, True, "label"), (NAMES_UP_TO + 1, True, "depth"), (3, False, "depth")],
)
def test_layers_are_named_where_there_is_room(layers: int, names: bool, field: str) -> None:
    axis: Any = depth_axis(layers, names=names).to_dict()
    assert axis["field"] == field


def test_layers_stay_in_the_order_of_the_network() -> None:
    axis: Any = depth_axis(2, field="name", order="place").to_dict()
    assert (axis["field"], axis["type"], axis["sort"]["field"]) == ("name", "nominal", "place")


def test_rows_are_named_by_their_numbers_whatever_is_in_a_name() -> None:
    names = ["plain", 'a "quoted" one', "c\\d"]
    axis = names_axis(names).to_dict()
    assert axis["values"] == [0, 1, 2]
    assert json.loads(axis["labelExpr"].removesuffix("[datum.value]")) == names
    assert names_axis(names, shown=[0, 2]).to_dict()["values"] == [0, 2]


def test_a_series_holds_its_steps_once() -> None:
    spec = series([{"layer": name, "ratio": [0.1, 0.2, 0.3]} for name in "ab"], [5, 10, 4711]).mark_line().to_dict()
    assert json.dumps(spec).count("4711") == 1
    (rows,) = spec["datasets"].values()
    assert rows[1] == {"layer": "b", "ratio": [0.1, 0.2, 0.3], "column": [0, 1, 2]}
    assert spec["transform"][0]["flatten"] == ["column", "ratio"]


def test_rows_stand_in_the_specification() -> None:
    rows: list[dict[str, Any]] = [{"a": 1}, {"a": None}]
    assert list(inline(iter(rows)).mark_point().to_dict()["datasets"].values()) == [rows]
