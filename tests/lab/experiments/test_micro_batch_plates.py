from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.micro_batches_for_tests import made
from weightatlas.atlas import write_atlas
from weightatlas.lab.experiments.micro_batch import cifar10_small
from weightatlas.lab.experiments.micro_batch_findings import micro_batch_findings
from weightatlas.plate import Chart, Finding, Subject, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> MicroBatchResult:
    return made(tmp_path_factory.mktemp("experiment"), cifar10_small("cifar10:a"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> MicroBatchResult:
    return made(tmp_path_factory.mktemp("quick"))


def test_every_question_has_a_plate_of_its_own_and_findings_lead_to_them(result: MicroBatchResult) -> None:
    plates = result.plates()
    assert isinstance(plates[0], Subject)
    keys = [plate.heading.key for plate in plates if isinstance(plate, Chart | Table)]
    assert keys == ["scores", "smoothness", "singularities", "verdicts", "methods", "effects", "runs"]
    findings = [plate for plate in plates if isinstance(plate, Finding)]
    assert {finding.plate for finding in findings} <= set(keys)
    assert len({finding.statement for finding in findings}) == len(findings)


def test_findings_say_what_was_planted(result: MicroBatchResult) -> None:
    told = {finding.statement: finding.evidence for finding in micro_batch_findings(result)}
    first = next(iter(told))
    assert first == ("From best to worst, in batches of 2: bcn-ws, bcn, gn-ws, gn-centred, gn-scaled, gn and bn.")
    statements = " ".join(told)
    assert "Batch norm fails where batches are small: so in two of two comparisons." in statements
    assert "Centring gives most of what standardisation gains, scaling less than half: so in four of four" in statements
    assert "Standardised weights make the loss smoother: so in four of eight comparisons" in statements
    matched = next(evidence for statement, evidence in told.items() if "does as well in micro-batches" in statement)
    assert len(matched) == 1
    assert matched[0].startswith("bcn-ws.b2 not below bn.b64: +0.0")


def test_the_title_of_the_scores_names_the_first_and_the_last(result: MicroBatchResult) -> None:
    chart = next(plate for plate in result.plates() if isinstance(plate, Chart))
    assert chart.heading.title.startswith("In batches of 2 bcn-ws is first (0.9")
    assert "bn last (0.4" in chart.heading.title


def test_the_atlas_holds_it(quick: MicroBatchResult, tmp_path: Path) -> None:
    page = write_atlas([quick], tmp_path / "atlas.html", title="Micro-batch training")
    text = page.read_text(encoding="utf-8")
    assert "From best to worst, in batches of 1" in text
