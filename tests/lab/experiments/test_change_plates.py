from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.experiments.changes_for_tests import made
from weightatlas.atlas import write_atlas
from weightatlas.lab.experiments.change_charts import (
    MOST_POINTS,
    layer_rows,
    measured_rows,
    recruitment_chart,
    scale_chart,
    third_rows,
    thirds_chart,
)
from weightatlas.lab.experiments.change_findings import change_findings, recruitment_title, scale_title
from weightatlas.lab.experiments.weight_change import PRESETS
from weightatlas.plate import Chart, Finding, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.change_result import ChangeExperimentResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ChangeExperimentResult:
    return made(tmp_path_factory.mktemp("experiment"))


def drawn(spec: dict[str, Any], data: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a part of a chart draws."""
    rows: list[dict[str, Any]] = spec["datasets"][data["name"]]
    return rows


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
    assert "change by a larger part of them in six of six variants." in statements
    assert "later layers change more in none of six variants, and less in none" in statements
    assert "the weights of later layers move farther in none of six variants." in statements
    assert "(adjusted Rand index above 0.9) in none of six variants." in statements
    assert told["verdicts"].evidence[-1].endswith("(p ≤ 0.05) in twelve of 18 runs")
    assert any(
        line.startswith("scenes: R −0.20 undivided (disagrees), +0.40 by equation 1, +0.60 if all weights moved as far")
        for finding in change_findings(result)
        for line in finding.evidence
    )
    assert not any("-0" in line for finding in change_findings(result) for line in finding.evidence)
    assert scale_title(result) == "Layers whose weights start smaller change more, in six of six variants"
    assert recruitment_title(result) == "One of three more complex tasks recruits later layers more, by equation 1"


def test_every_plate_that_a_finding_names_is_there(result: ChangeExperimentResult) -> None:
    plates = result.plates()
    keys = {plate.heading.key for plate in plates if isinstance(plate, Chart | Table)}
    named = {plate.plate for plate in plates if isinstance(plate, Finding)}
    assert named <= keys
    assert {"recruitment", "scale", "layers-chart", "thirds", "accuracies", "verdicts", "runs"} <= keys


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


def test_every_panel_of_the_thirds_draws_its_own_variant(result: ChangeExperimentResult) -> None:
    """Data of its own inside a facet is drawn whole in every panel."""
    spec = thirds_chart(result).to_dict()
    assert "data" not in spec["spec"]
    assert drawn(spec, spec["data"]) == third_rows(result)
    assert spec["facet"]["field"] == "variant"


def test_the_line_of_weights_that_move_as_far_goes_through_layers_that_do(result: ChangeExperimentResult) -> None:
    spec = scale_chart(result).to_dict()
    assert len(spec["hconcat"]) == 2
    assert {row["inner"] for row in measured_rows(result)} == {True}
    for panel in spec["hconcat"]:
        line, dots = (drawn(spec, layer["data"]) for layer in panel["layer"])
        levels = [row["first_weight"] * row["ratio_l1"] for row in dots]
        on_line = [row["first_weight"] * row["ratio_l1"] for row in line]
        assert levels == pytest.approx([0.01 * 0.25] * len(dots)), "as planted"
        assert on_line == pytest.approx([0.01 * 0.25] * 2)


def test_the_paper_s_percentages_keep_their_decimal(result: ChangeExperimentResult) -> None:
    table = next(plate for plate in result.plates() if isinstance(plate, Table) and plate.heading.key == "accuracies")
    assert {column.digits for column in table.columns if column.form == "share"} == {3}


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
