from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.connectivities_for_tests import ALPHAS, made
from weightatlas.atlas import write_atlas
from weightatlas.lab.experiments.mode_connectivity_charts import (
    PATHS_DRAWN,
    fork_rows,
    forks_chart,
    layer_rows,
    layers_chart,
    path_rows,
    paths_chart,
    width_rows,
    widths_chart,
)
from weightatlas.lab.experiments.mode_connectivity_findings import mode_connectivity_findings
from weightatlas.lab.experiments.mode_connectivity_measures import SAID
from weightatlas.lab.experiments.mode_connectivity_variants import INSTABILITY, SHARES
from weightatlas.plate import Chart, Finding, Subject, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult

WIDER = "The widest networks have lower barriers than the narrowest: so in three of three comparisons."
RANKED = (
    "Derivatives at both ends rank the barriers of layers with correlations from +0.75 to +0.75; beyond chance (p < "
    ".05) in nine of nine pairs."
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ModeConnectivityResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_every_question_has_a_plate_of_its_own_and_findings_lead_to_them(result: ModeConnectivityResult) -> None:
    plates = result.plates()
    assert isinstance(plates[0], Subject)
    keys = [plate.heading.key for plate in plates if isinstance(plate, Chart | Table)]
    assert keys == [
        "widths",
        "forks",
        "paths",
        "layers",
        "verdicts",
        "widths-table",
        "forks-table",
        "effects",
        "runs",
    ]
    findings = [plate for plate in plates if isinstance(plate, Finding)]
    assert {finding.plate for finding in findings} <= set(keys)


def test_findings_say_what_was_planted(result: ModeConnectivityResult) -> None:
    told = {finding.statement: finding.evidence for finding in mode_connectivity_findings(result)}
    assert set(told) == {
        WIDER,
        "Networks forked late have error barriers near zero (within 0.02): so in two of two comparisons.",
        "From 1/4 of the run on every fork's mean error barrier is below 0.02.",
        "Matching lowers the barrier: so in three of three comparisons.",
        "Statistics estimated anew lower the barrier: so in three of three comparisons.",
        RANKED,
    }
    wider = told[WIDER]
    assert wider[1].startswith("w2.twin below w0.5.twin, loss: −0.1")
    assert wider[0].endswith("agrees")


def test_barriers_are_drawn_seed_by_seed_for_each_kind_of_line(result: ModeConnectivityResult) -> None:
    rows = width_rows(result)
    assert len(rows) == 3 * 4 * 3
    assert {row["line"] for row in rows} == set(SAID)
    assert {row["width"] for row in rows} == {0.5, 1.0, 2.0}
    rows = fork_rows(result)
    assert list(dict.fromkeys(row["share"] for row in rows)) == ["independent", *(str(share) for share in SHARES)]
    drawn = forks_chart(result).to_dict()
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["rule", "line", "line", "point"]
    data = [drawn["datasets"][layer["data"]["name"]] for layer in drawn["layer"]]
    assert data == [[{"floor": INSTABILITY}], rows, rows, rows]
    assert str(INSTABILITY) not in str(widths_chart(result).to_dict()["layer"])
    assert len(result.chart().to_dict()["hconcat"]) == 2


def test_lines_are_the_means_of_the_seeds_independent_pairs_first(result: ModeConnectivityResult) -> None:
    rows = path_rows(result)
    drawn = list(dict.fromkeys(row["variant"] for row in rows))
    assert len(drawn) == PATHS_DRAWN
    assert {"w0.5.twin", "w2.twin"} < set(drawn)
    own = [row for row in rows if (row["variant"], row["line"]) == ("w1.twin", SAID[0])]
    assert [row["alpha"] for row in own] == ALPHAS.tolist()
    assert own[2]["loss"] == pytest.approx(0.1 + 0.4, abs=0.002)
    assert {row["seeds"] for row in own} == {3}
    assert paths_chart(result).to_dict()["facet"]["field"] == "variant"


def test_layers_of_independent_pairs_are_drawn_alone(result: ModeConnectivityResult) -> None:
    rows = layer_rows(result)
    assert len(rows) == 3 * 3 * 2
    assert all(row["variant"].endswith(".twin") for row in rows)
    assert layers_chart(result).to_dict()["facet"]["field"] == "variant"


def test_the_atlas_holds_it(result: ModeConnectivityResult, tmp_path: Path) -> None:
    text = write_atlas([result], tmp_path / "atlas.html", title="Mode connectivity").read_text(encoding="utf-8")
    assert WIDER in text
