from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.experiments.degeneracies_for_tests import figures, made
from weightatlas.atlas import write_atlas
from weightatlas.lab.experiments.degeneracy import published, quick
from weightatlas.lab.experiments.degeneracy_charts import (
    KINDS,
    WHOSE,
    course_rows,
    curve_chart,
    edge_rows,
    edges_chart,
)
from weightatlas.lab.experiments.degeneracy_findings import degeneracy_findings
from weightatlas.lab.experiments.degeneracy_published import LOCAL, PCA
from weightatlas.plate import Chart, Finding, Subject, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult

FOLLOWED = (
    "A step along the directions called free, as long as the weights, leaves the outputs unchanged (within 10⁻⁶ of "
    "themselves): so in five of five networks."
)
SPARED = (
    "The interaction basis needs fewer edges than principal components at equal accuracy: shown in one of four "
    "networks, the contrary in one."
)
MODULAR = (
    "That a planted modular network is more degenerate than a mixed one of its size and loss: three of three "
    "comparisons agree, none are to the contrary."
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> DegeneracyResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_every_question_has_a_plate_of_its_own_and_findings_lead_to_them(result: DegeneracyResult) -> None:
    plates = result.plates()
    assert isinstance(plates[0], Subject)
    keys = [plate.heading.key for plate in plates if isinstance(plate, Chart | Table)]
    assert keys == ["counts", "curve", "edges", "modules", "course", "ranks", "verdicts", "layers", "effects", "runs"]
    findings = [plate for plate in plates if isinstance(plate, Finding)]
    assert {finding.plate for finding in findings} <= set(keys)


def test_findings_say_what_was_planted(result: DegeneracyResult) -> None:
    statements = [finding.statement for finding in degeneracy_findings(result)]
    assert FOLLOWED in statements
    assert SPARED in statements
    assert MODULAR in statements
    assert any("interaction graphs of five of 25 networks are more modular" in statement for statement in statements)
    ranks = next(statement for statement in statements if statement.startswith("Over the seeds of one task"))
    assert "in four of 6 rank correlations; four of them as claimed" in ranks


def test_what_is_planted_to_the_contrary_is_said_too(tmp_path: Path) -> None:
    def turned(run: Any) -> Any:  # noqa: ANN401 - as of the experiment
        full = figures(run)
        llc = 50.0 + (30.0 if run.folder.parent.name == "modular" else 0.0) + 0.1 * (run.configuration.seed % 2)
        return type(full)(dict(full.figures) | {"llc": llc, "followed": 0.1}, full.arrays)

    from dataclasses import replace

    from tests.lab.experiments.degeneracies_for_tests import trained
    from weightatlas.lab.experiments.matrix import run_experiment

    found = run_experiment(replace(quick(), measure=turned), tmp_path, jobs=1, runner=trained)
    statements = [finding.statement for finding in degeneracy_findings(found)]  # type: ignore[arg-type]
    assert any("two of three comparisons agree, one is to the contrary" in statement for statement in statements)
    assert any("so in none of five networks" in statement for statement in statements)


def test_published_edges_stand_beside_networks_of_their_size_alone(tmp_path: Path, result: DegeneracyResult) -> None:
    assert {row["whose"] for row in edge_rows(result)} == {WHOSE[0]}
    large = made(tmp_path, published())
    rows = [row for row in edge_rows(large) if row["whose"] == WHOSE[1]]
    assert len(rows) == 2 * 3 * 5
    kept = {kind: {row["edges"] for row in rows if row["basis"] == kind} for kind in KINDS}
    assert kept[KINDS[0]] == {count for counts in LOCAL.values() for count in counts}
    assert kept[KINDS[1]] == {count for counts in PCA.values() for count in counts}
    statements = [finding.statement for finding in degeneracy_findings(large)]
    assert any("beside the published ones, three pairs of points" in statement for statement in statements)


def test_charts_have_a_panel_a_variant_with_data_of_their_own(result: DegeneracyResult) -> None:
    for chart in (edges_chart(result), curve_chart(result)):
        spec = chart.to_dict()
        values = spec["datasets"][spec["data"]["name"]]
        assert {row["variant"] for row in values} >= {"digits", "mixed", "modular"}
        assert spec["columns"] == 3
    hollow = [row for row in course_rows(result) if row["told"] == "flagged"]
    assert len(hollow) == 25


def test_it_draws_an_atlas(tmp_path: Path, result: DegeneracyResult) -> None:
    write_atlas([result], tmp_path / "atlas.html")
    page = (tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert "Free directions, layer by layer" in page
