from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.experiments.experiments_for_tests import MEASURES, experiment, made_up_run, with_values
from weightatlas.lab.experiments.charts import MARKS, chart_rows, variants_chart, zone
from weightatlas.lab.experiments.claims import EXPECTED, VERDICTS, Claim, Expected
from weightatlas.lab.experiments.comparing import Comparison
from weightatlas.lab.experiments.effects import paired_effect
from weightatlas.lab.experiments.matrix import run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.result import ExperimentResult

SCORE = MEASURES[:1]
ZONES: dict[Expected, tuple[float, float]] = {
    "lower": (-0.5, 0.3),
    "higher": (0.3, 0.5),
    "same": (0.24, 0.36),
    "under half": (-0.5, 0.15),
    "present": (0.06, 0.5),
    "absent": (-0.06, 0.06),
    "reversed": (-0.5, -0.06),
    "not lower": (0.24, 0.5),
    "over half": (0.15, 0.5),
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    made = experiment("baseline", "weak", "broken")
    return run_experiment(made, tmp_path_factory.mktemp("experiment"), jobs=1, runner=made_up_run)


def layers(chart: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a chart of altair
    (panel,) = with_values(chart)
    found: list[dict[str, Any]] = panel["layer"]
    return found


def test_every_kind_of_claim_has_its_zone_and_every_verdict_its_mark() -> None:
    assert set(ZONES) == set(EXPECTED)
    assert set(MARKS) == set(VERDICTS)
    effect = paired_effect([0.3, 0.3], [0.3, 0.3])
    for expected, expected_zone in ZONES.items():
        claim = Claim(measure="score", expected=expected, floor=0.06)
        item = Comparison("one", "baseline", "score", effect, None, claim, "agrees")
        assert zone(item, 0.5) == pytest.approx(expected_zone)


def test_a_zone_stays_on_the_axis() -> None:
    claim = Claim(measure="score", expected="absent", floor=0.6)
    item = Comparison("one", "baseline", "score", paired_effect([0.3], [0.3]), None, claim, "undecided")
    assert zone(item, 0.5) == (-0.5, 0.5)


def test_a_dot_is_a_seed_and_a_variant_without_runs_keeps_its_empty_row(result: ExperimentResult) -> None:
    rows = chart_rows(result, SCORE)
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (name, seed) for name in ("baseline", "weak") for seed in (1, 2, 3)
    ]
    drawn = layers(variants_chart(result, SCORE))
    ranges = drawn[0]["data"]["values"]
    assert [row["variant"] for row in ranges] == ["baseline", "weak", "broken"]
    assert ranges[0].get("baseline") is None
    assert ranges[1]["baseline"] == pytest.approx(ranges[0]["mean"])
    assert ranges[1]["mark"] == MARKS["agrees"]
    assert (ranges[2]["mean"], ranges[2]["mark"]) == (None, "")


def test_the_axis_is_as_wide_on_both_sides_and_holds_every_dot(result: ExperimentResult) -> None:
    drawn = layers(variants_chart(result, SCORE))
    domain = drawn[0]["encoding"]["x"]["scale"]["domain"]
    assert domain[0] == -domain[1]
    assert max(abs(row["value"]) for row in chart_rows(result, SCORE)) < domain[1] <= 0.4


def test_dots_are_coloured_by_a_figure_of_their_run(result: ExperimentResult, tmp_path: Path) -> None:
    chart = variants_chart(result, SCORE, classes={"score": "kind"}, colours={"made up": "#123456"}, legend="kind")
    dots = next(layer for layer in layers(chart) if "color" in layer["encoding"])
    assert {row["class"] for row in dots["data"]["values"]} == {"made up"}
    chart.save(tmp_path / "chart.svg")
    assert "#123456" in (tmp_path / "chart.svg").read_text(encoding="utf-8")
