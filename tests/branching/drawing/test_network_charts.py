from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.branching.example_surveys import deep, planted, run, values_of
from weightatlas.branching.drawing.network_charts import (
    LAYERS,
    NULL_WIDTH,
    clusterability_chart,
    onset_chart,
    share_rows,
    shares_chart,
)


def test_bars_count_every_shuffled_network_and_the_line_is_the_network() -> None:
    found = planted().clusterability
    assert found is not None
    spec = clusterability_chart(found).to_dict()
    bars, line, _ = (values_of(spec, layer) for layer in spec["layer"])
    assert sum(bar["networks"] for bar in bars) == len(found.null)
    assert line[0]["ncut"] == found.ncut


@pytest.mark.parametrize("null", [[1.0], [1.0, 1.0, 1.0], [1.0, float("nan")]])
def test_few_or_equal_shuffles_are_drawn(null: list[float]) -> None:
    found = planted().clusterability
    assert found is not None
    spec = clusterability_chart(replace(found, null=np.array(null))).to_dict()
    assert sum(bar["networks"] for bar in values_of(spec, spec["layer"][0])) == np.isfinite(null).sum()


def test_each_layers_shares_are_all_of_it() -> None:
    found = planted().clusterability
    assert found is not None
    rows = share_rows(found)
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["layer"]] = totals.get(row["layer"], 0.0) + row["share"]
    assert totals == pytest.approx(dict.fromkeys(found.sizes, 1.0))


def test_very_many_layers_are_thinned_to_what_a_page_holds() -> None:
    found = deep(LAYERS + 100).clusterability
    assert found is not None
    assert len({row["layer"] for row in share_rows(found)}) == LAYERS
    assert shares_chart(found).to_dict()["height"] <= 1000


def test_the_course_shows_measured_steps_and_their_null() -> None:
    onsets = run(steps=6).onsets
    spec = onset_chart(onsets).to_dict()
    values = values_of(spec, spec["layer"][0])
    assert [value["step"] for value in values] == [100, 200, 300, 400, 500]
    assert values[0]["high"] == pytest.approx(0.05 + NULL_WIDTH * 0.02)
    assert "facet" in onset_chart([onsets[0], replace(onsets[0], by="frequency")]).to_dict()
