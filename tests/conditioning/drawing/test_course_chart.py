from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conditioning.example_surveys import exploded, over_a_run, small
from weightatlas.conditioning.drawing.course_chart import ACROSS, PANELS, course_chart, course_rows, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.conditioning import Conditioning


def test_a_panel_for_each_figure_that_is_known_twice() -> None:
    figures = shown(course_rows(over_a_run()))
    assert figures == [figure for figure in PANELS if figure != "top_eigenvalue"]
    lines = course_chart(over_a_run()).to_dict()["vconcat"]
    assert [len(line["hconcat"]) for line in lines] == [ACROSS, len(figures) - ACROSS]
    json.dumps(lines, allow_nan=False)


@pytest.mark.parametrize("example", [small, exploded])
def test_one_moment_has_no_course(example: Callable[[], Conditioning]) -> None:
    assert shown(course_rows(example())) == []


def test_chance_is_relative_as_the_figure_is() -> None:
    moment = over_a_run().snapshots[0].smoothness
    assert moment is not None
    row = course_rows(over_a_run())[0]
    assert row["gradient_lipschitz_relative"] == pytest.approx(moment.relative_gradient_lipschitz)
    (random,) = moment.random_gradient_lipschitz
    assert row["gradient_lipschitz_relative_chance"] == pytest.approx(random * moment.weight_norm**2)


def test_what_is_unknown_is_not_drawn() -> None:
    drawn = course_chart(over_a_run()).to_dict()["datasets"]
    assert drawn
    assert all([row["step"] for row in rows] == [0, 900] for rows in drawn.values())
