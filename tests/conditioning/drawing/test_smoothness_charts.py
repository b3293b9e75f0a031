from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conditioning.example_surveys import EVERY, channels_only, exploded, layered, small
from weightatlas.conditioning.drawing.smoothness_charts import terms_chart, terms_rows, walks_chart, walks_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.conditioning import Conditioning


@pytest.mark.parametrize("example", EVERY)
def test_charts_hold_finite_numbers_only(example: Callable[[], Conditioning]) -> None:
    for chart in (terms_chart(example()), walks_chart(example())):
        json.dumps(chart.to_dict(), allow_nan=False)


def test_each_convolution_has_both_terms_in_their_order() -> None:
    rows = terms_rows(small())
    assert [(row["layer"], row["term"]) for row in rows] == [
        (layer, term) for layer in ("conv1", "conv2", "conv3") for term in ("centring", "scaling")
    ]
    assert all(0 <= row["share"] <= 1 and row["null"] > 0 for row in rows)


@pytest.mark.parametrize("layers", [1, 100])
def test_bars_become_thin_before_they_overlap(layers: int) -> None:
    spec = terms_chart(layered(layers)).to_dict()
    bars, chance = spec["layer"]
    assert bars["mark"]["size"] == (16 if layers == 1 else pytest.approx(4.2))
    assert len(spec["datasets"][chance["data"]["name"]]) == layers


def test_walks_begin_where_the_network_is() -> None:
    rows = walks_rows(small())
    first = {row["walk"]: row for row in reversed(rows)}
    assert list(reversed(first)) == ["against the gradient", "random 1", "random 2"]
    assert all((row["length"], row["loss_change"]) == (0, 0) for row in first.values())
    assert max(row["length"] for row in rows) == pytest.approx(0.01, rel=1e-3)


def test_what_is_infinite_is_not_drawn() -> None:
    lost = [row for row in walks_rows(exploded()) if row["walk"] == "against the gradient"]
    assert [row["loss_change"] for row in lost] == [0.0] + [None] * (len(lost) - 1)


def test_without_smoothness_there_is_nothing() -> None:
    assert terms_rows(channels_only()) == []
    assert walks_rows(channels_only()) == []
