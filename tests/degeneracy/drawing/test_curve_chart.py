from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.degeneracy.planted_surveys import curve_of, data_of, planted_counts, planted_survey
from weightatlas.atlas.charts import save_chart
from weightatlas.degeneracy.drawing.curve_chart import HEADROOM, curve_chart, curve_points

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.degeneracy import Degeneracy

SIZE = 11
"""Of the letters, in pixels."""
RANK, LIMIT, FREE = "rank of the Jacobian", "examples × outputs: its limit", "free directions"


def survey(
    *, parameters: int = 100, outputs: int = 3, ranks: tuple[int, ...] = (3, 6, 12), last: int | None = None
) -> Degeneracy:
    examples = [2**power for power in range(len(ranks))]
    examples[-1] = last or examples[-1]
    curve = curve_of(ranks, examples, parameters=parameters, outputs=outputs)
    return planted_survey(planted_counts(parameters=parameters, outputs=outputs, curve=curve))


def parts(found: Degeneracy) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = curve_chart(found).to_dict()["layer"]
    return layers


def test_points_are_the_rank_its_limit_and_what_remains() -> None:
    rows = curve_points(survey())
    assert [(row["examples"], row["what"], row["value"]) for row in rows] == [
        (1, RANK, 3),
        (1, LIMIT, 3),
        (1, FREE, 97),
        (2, RANK, 6),
        (2, LIMIT, 6),
        (2, FREE, 94),
        (4, RANK, 12),
        (4, LIMIT, 12),
        (4, FREE, 88),
    ]
    drawn = data_of(curve_chart(survey()).to_dict())
    assert [row for row in drawn if "what" in row] == rows
    assert {"value": 100, "text": "100 weights"} in drawn


def test_the_limit_ends_with_its_first_point_above_the_weights_and_is_cut_there() -> None:
    found = survey(parameters=40, outputs=16, ranks=(16, 30, 38, 38, 38))
    assert [row["value"] for row in curve_points(found) if row["what"] == LIMIT] == [16, 32, 64]
    *_, lines, dots = parts(found)
    assert lines["mark"]["clip"] is True
    assert dots["transform"] == [{"filter": f"datum.value <= {40 * HEADROOM}"}]
    assert lines["encoding"]["y"]["scale"] == {"domain": [0, 40 * HEADROOM], "nice": False}


def test_the_number_of_weights_stands_above_its_line_where_no_line_runs(tmp_path: Path) -> None:
    """Free directions close to all weights, as few examples leave them."""
    save_chart(
        curve_chart(survey(parameters=3466, outputs=10, ranks=(10, 20, 40, 80, 160))).to_dict(), tmp_path / "c.svg"
    )
    drawn = (tmp_path / "c.svg").read_text(encoding="utf-8")
    (place,) = re.findall(r'transform="translate\(([\d.-]+),([\d.-]+)\)"[^>]*>3,466 weights<', drawn)
    x, bottom = map(float, place)
    (rule,) = re.findall(r'<line [^>]*transform="translate\([\d.]+,([\d.]+)\)"[^>]*stroke-dasharray="2,3"', drawn)
    assert x == 0
    assert SIZE <= bottom < float(rule)  # within the plot, above the line


@pytest.mark.parametrize(
    ("outputs", "ranks", "side"),
    [
        (10, (10, 20, 40, 80, 160), "left"),
        (3000, (3000, 3466, 3466, 3466, 3466), "right"),
        (4000, (3466, 3466, 3466, 3466, 3466), "right"),
        (400, (400, 800, 1600, 3200, 3466), "left"),
    ],
)
def test_the_number_of_weights_gives_way_to_an_early_limit(outputs: int, ranks: tuple[int, ...], side: str) -> None:
    label = parts(survey(parameters=3466, outputs=outputs, ranks=ranks))[1]
    assert (label["mark"]["align"], label["mark"]["baseline"]) == (side, "bottom")
    assert label["encoding"]["x"] == {"value": 0 if side == "left" else "width"}


@pytest.mark.parametrize(("parameters", "form"), [(100, ",d"), (9_999, ",d"), (10_000, "~s"), (23_000_000, "~s")])
def test_nought_is_plain_and_thousands_begin_where_they_do_elsewhere(
    parameters: int, form: str, tmp_path: Path
) -> None:
    found = survey(parameters=parameters)
    axis = parts(found)[2]["encoding"]["y"]["axis"]
    assert axis["format"] == form
    save_chart(curve_chart(found).to_dict(), tmp_path / "c.svg")
    drawn = (tmp_path / "c.svg").read_text(encoding="utf-8")
    assert ">0</text>" in drawn
    assert not re.search(r">0[kM]</text>|>1e[+-]?\d", drawn)


def test_the_axis_has_the_numbers_of_examples_that_were_taken() -> None:
    x = parts(survey(last=5))[2]["encoding"]["x"]
    assert x["axis"]["values"] == [1, 2, 5]
    assert x["scale"]["domain"] == [1, 5]


def test_one_number_of_examples_is_drawn_in_the_middle(tmp_path: Path) -> None:
    found = survey(ranks=(3,))
    assert parts(found)[2]["encoding"]["x"]["scale"]["domain"] == [0.5, 2]
    save_chart(curve_chart(found).to_dict(), tmp_path / "c.svg")
    assert "NaN" not in (tmp_path / "c.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("found", [planted_survey(), planted_survey(planted_counts(curve=None))])
def test_what_was_not_measured_has_no_points(found: Degeneracy) -> None:
    assert curve_points(found) == []
