from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.experiments_for_tests import experiment, made_up_run
from weightatlas.lab.experiments.charts import zone
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.plate import Chart, Finding, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.result import ExperimentResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    made = experiment("baseline", "weak", "none", "broken")
    return run_experiment(made, tmp_path_factory.mktemp("experiment"), jobs=1, runner=made_up_run)


def test_the_cover_counts_verdicts_on_the_articles_claims_and_says_what_was_lost(result: ExperimentResult) -> None:
    findings = [plate for plate in result.plates() if isinstance(plate, Finding)]
    assert (
        findings[0].statement
        == "Of three claims of the article two are confirmed, one contradicted and none undecided."
    )
    assert "disagrees: none" in findings[0].evidence
    assert findings[1].statement == "Three runs of 12 could not be finished."
    assert findings[1].evidence == ("the loss is nan at step 3",)


def test_verdicts_effects_and_runs_are_tables(result: ExperimentResult) -> None:
    tables = {plate.heading.key: plate for plate in result.plates() if isinstance(plate, Table)}
    assert list(tables) == ["verdicts", "effects", "runs"]
    assert tables["verdicts"].marked == (True, True, True, False)
    assert tables["verdicts"].rows[1]["change"] == "−0.200 to −0.200"
    assert len(tables["runs"].rows) == 12
    keys = [(row["variant"], row["measure"]) for row in tables["effects"].rows]
    assert len(keys) == len(set(keys))


def test_the_chart_draws_every_seed_beside_the_claim(result: ExperimentResult, tmp_path: Path) -> None:
    (chart,) = [plate for plate in result.plates() if isinstance(plate, Chart)]
    assert len(chart.rows) == 9
    assert result.save(tmp_path / "chart.svg").stat().st_size > 1000
    claimed = [item for item in result.comparisons if item.claim is not None]
    assert zone(claimed[0], 0.4) == (0.06, 0.4)
    low, high = zone(claimed[2], 0.4)
    assert low == -0.4
    assert high == pytest.approx(claimed[2].effect.baseline.mean / 2)


def test_a_page_is_written_even_where_nothing_could_be_run(tmp_path: Path) -> None:
    result = run_experiment(experiment("broken"), tmp_path / "runs", jobs=1, runner=made_up_run)
    page = result.save(tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert "could not be finished" in page
