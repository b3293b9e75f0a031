from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.changes_for_tests import made
from weightatlas.atlas import write_atlas
from weightatlas.lab.experiments.change_charts import MOST_POINTS, layer_rows, recruitment_chart, third_rows
from weightatlas.lab.experiments.change_findings import change_findings, layers_title, recruitment_title
from weightatlas.lab.experiments.weight_change import PRESETS
from weightatlas.plate import Chart, Finding, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.change_result import ChangeExperimentResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ChangeExperimentResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_findings_say_what_was_planted(result: ChangeExperimentResult) -> None:
    told = {finding.plate: finding for finding in reversed(change_findings(result))}
    assert told["recruitment"].statement == (
        "A more complex task recruits later layers more in one of three comparisons by equation 1 and one of three "
        "comparisons by the paper's code."
    )
    assert any(
        line.startswith("scenes-order, equation 1: R +0.20 against scenes, +0.2") and line.endswith("(agrees)")
        for line in told["recruitment"].evidence
    )
    statements = " ".join(finding.statement for finding in change_findings(result))
    assert "follows the size of layers more closely than equation 1 in six of six variants" in statements
    assert "change by a larger part of them in six of six variants, whatever is learned" in statements
    assert "later layers change more in none of six variants, and less in none" in statements
    assert "in none of six variants." in statements
    assert layers_title(result) == "Layers whose weights start smaller change more, in six of six variants"
    assert recruitment_title(result) == "One of three more complex tasks recruits later layers more, by equation 1"


def test_every_plate_that_a_finding_names_is_there(result: ChangeExperimentResult) -> None:
    plates = result.plates()
    keys = {plate.heading.key for plate in plates if isinstance(plate, Chart | Table)}
    named = {plate.plate for plate in plates if isinstance(plate, Finding)}
    assert named <= keys
    assert {"recruitment", "layers-chart", "thirds", "accuracies", "verdicts", "runs"} <= keys


def test_charts_hold_the_rows_behind_them(result: ChangeExperimentResult) -> None:
    for plate in result.plates():
        if isinstance(plate, Chart):
            assert plate.rows
            assert plate.spec["$schema"]
    assert len(recruitment_chart(result).to_dict()["hconcat"]) == 2


def test_a_third_s_curve_is_the_mean_of_its_seeds(result: ChangeExperimentResult) -> None:
    rows = third_rows(result)
    assert {row["seeds"] for row in rows} == {3}
    first = [row for row in rows if (row["variant"], row["part"]) == ("scenes", "first third")]
    assert [row["ratio_l1"] for row in first] == pytest.approx([0.1, 0.05, 0.025, 0.0125, 0.00625])


def test_too_many_layers_are_drawn_of_one_seed(result: ChangeExperimentResult, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {row["seed"] for row in layer_rows(result)} == {1, 2, 3}
    assert len(layer_rows(result)) < MOST_POINTS
    monkeypatch.setattr("weightatlas.lab.experiments.change_charts.MOST_POINTS", 10)
    assert {row["seed"] for row in layer_rows(result)} == {1}


def test_the_page_is_written_of_a_whole_and_of_an_unfinished_experiment(
    result: ChangeExperimentResult, tmp_path: Path
) -> None:
    assert write_atlas([result], tmp_path / "atlas.html").stat().st_size > 10_000
    cifar = made(tmp_path / "cifar", PRESETS["cifar"]("cifar10:a,cifar100:b"))
    accuracies = next(
        plate for plate in cifar.plates() if isinstance(plate, Table) and plate.heading.key == "accuracies"
    )
    assert accuracies.heading.title == "Accuracies beside the paper's table 2"
    assert sum(column.key.endswith("_paper") for column in accuracies.columns) == 4
