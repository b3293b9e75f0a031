from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import weightatlas as wa
from tests.conditioning.example_surveys import (
    EVERY,
    channels_only,
    exploded,
    layered,
    over_a_run,
    small,
    unmeasured,
)
from weightatlas.plate import Chart, Finding, Subject, Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.conditioning import Conditioning

WHOLE = ["conditioning", "plane", "positive", "terms", "walks"]


def figures(survey: Conditioning) -> dict[str, Table | Chart]:
    return {plate.heading.key: plate for plate in survey.plates() if isinstance(plate, Table | Chart)}


@pytest.mark.parametrize(
    ("example", "keys"),
    [
        (small, WHOLE),
        (channels_only, WHOLE[:3]),
        (over_a_run, [*WHOLE, "course"]),
        (exploded, WHOLE),
        (unmeasured, []),
    ],
)
def test_a_survey_has_the_plates_that_it_can_fill(
    example: Callable[[], Conditioning], keys: list[str], tmp_path: Path
) -> None:
    found = figures(example())
    assert list(found) == keys
    page = wa.write_atlas([example()], tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert all(figure.heading.title in page.replace("&#39;", "'") for figure in found.values())


@pytest.mark.parametrize("example", EVERY)
def test_findings_lead_to_plates_that_are_there(example: Callable[[], Conditioning]) -> None:
    keys = {"", *figures(example())}
    assert all(plate.plate in keys for plate in example().plates() if isinstance(plate, Finding))


def test_every_plate_says_how_to_read_it_and_how_it_was_made() -> None:
    for survey in (small(), over_a_run()):
        for key, figure in figures(survey).items():
            heading = figure.heading
            assert heading.reading.endswith(".")
            assert heading.method.endswith(".")
            assert heading.title[0].isupper()
            assert not heading.title.endswith(".")
            assert bool(heading.null) is (key != "course")


def test_a_run_says_which_step_is_drawn() -> None:
    assert all("Step 900" in figure.heading.reading for key, figure in figures(over_a_run()).items() if key != "course")
    assert not any("Step" in figure.heading.reading for figure in figures(small()).values())


def test_the_table_marks_layers_with_dead_channels() -> None:
    table = figures(small())["conditioning"]
    assert isinstance(table, Table)
    assert table.marked[0]
    assert table.marked == tuple(bool(row["dead"]) for row in table.rows)
    assert [column.key for column in table.columns][:4] == ["layer", "function", "norm", "channels"]


@pytest.mark.parametrize("layers", [1, 100])
def test_figures_hold_every_layer_and_finite_numbers(layers: int) -> None:
    found = figures(layered(layers))
    assert [len(found[key].rows) for key in ("conditioning", "positive", "terms")] == [layers, layers, 2 * layers]
    for figure in found.values():
        if isinstance(figure, Chart):
            json.dumps([figure.spec, figure.rows], allow_nan=False)


def test_the_subject_says_what_was_measured_on_what() -> None:
    (subject,) = (plate for plate in over_a_run().plates() if isinstance(plate, Subject))
    assert subject.facts == ("on scenes", "three moments of a run", "three places", "18 channels")
