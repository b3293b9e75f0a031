from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vl_convert

from tests.branching.example_surveys import grey, joined, planted, unbranched, values_of
from weightatlas import palette
from weightatlas.branching.charts import cardinal, orientation_chart, orientation_rows, tuning_chart
from weightatlas.branching.drawing.tuned_groups import tuned_groups

if TYPE_CHECKING:
    from weightatlas.branching.survey import BranchingSurvey


def spec_of(chart: Any) -> dict[str, Any]:  # noqa: ANN401 - any Altair chart
    """The specification, once Vega-Lite has drawn it."""
    spec: dict[str, Any] = chart.to_dict()
    assert vl_convert.vegalite_to_svg(json.dumps(spec)).startswith("<svg")
    return spec


def colours(spec: dict[str, Any]) -> dict[str, str]:
    """What each name is drawn in."""
    layers = spec.get("layer") or spec["spec"]["layer"]
    scale = next(layer["encoding"]["color"]["scale"] for layer in layers if "color" in layer["encoding"])
    return dict(zip(scale["domain"], scale["range"], strict=True))


@pytest.mark.parametrize("made", [planted, joined, unbranched, grey])
def test_every_survey_has_a_chart_of_tuning_and_of_orientations(made: Any) -> None:  # noqa: ANN401
    found: BranchingSurvey = made()
    spec_of(tuning_chart(found))
    spec_of(orientation_chart(found))


def test_two_branches_share_a_panel_and_have_the_first_two_colours() -> None:
    spec = spec_of(tuning_chart(planted()))
    assert "facet" not in spec
    assert colours(spec) == {"group 1": palette.CATEGORIES[0], "group 2": palette.CATEGORIES[1]}


def test_every_measured_unit_is_a_dot_with_its_figures() -> None:
    spec = spec_of(tuning_chart(planted()))
    dots = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "point")
    (tuned,) = [layer for layer in planted().layers if layer.tuning is not None]
    assert tuned.tuning is not None
    by_unit = {row["unit"]: row for row in values_of(spec, dots)}
    assert sorted(by_unit) == list(range(12))
    assert [by_unit[unit]["chroma"] for unit in range(12)] == pytest.approx(tuned.tuning.chroma, abs=1e-4)
    assert [by_unit[unit]["branch"] for unit in (0, 11)] == ["group 1", "group 2"]


def test_orientations_are_counted_once_each_beside_an_even_spread() -> None:
    groups = tuned_groups(planted())
    rows = [row for row in orientation_rows(groups) if row["panel"] == "group 1"]
    assert [row["orientation"] for row in rows] == list(range(0, 180, 15))
    assert [row["units"] for row in rows] == [1, 0] * 6  # six gratings, 30 degrees apart
    assert all(row["even"] == 0.5 for row in rows)


def test_what_lies_within_fifteen_degrees_of_the_axes_is_cardinal() -> None:
    groups = tuned_groups(planted())
    near, oriented = cardinal(groups)
    angles = np.array([0, 30, 60, 90, 120, 150])
    assert oriented == 6
    assert near == int(np.count_nonzero(np.minimum(angles % 90, 90 - angles % 90) <= 15))
