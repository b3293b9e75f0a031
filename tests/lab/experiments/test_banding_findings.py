from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.banding_findings import banding_findings, bands_title, classifier_title
from weightatlas.lab.experiments.banding_measures import PLACES
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_banding import quick

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Configuration, Run
    from weightatlas.lab.experiments.banding_result import BandingExperimentResult

SCORES = {"baseline": 0.3, "rotated-90": -0.3, "no-pooling": 0.05, "control": 0.0}


def made(folder: Path, *, scores: dict[str, float], seeds: tuple[int, ...] = (1, 2)) -> BandingExperimentResult:
    """The quick preset with B of both layers by variant; a seed adds a little, with turns of the sign for 0."""

    def figures(run: Run) -> Measurement:
        name = run.folder.parent.name
        value = scores.get(name, 0.25)
        value += (0.001 if value else 0.01 * (-1) ** run.configuration.seed) * run.configuration.seed
        direction = "none" if abs(value) < 0.06 else "horizontal" if value > 0 else "vertical"
        found: dict[str, float | str] = {"shift": 0.0}
        for place in PLACES:
            found |= {f"{place}_score": value, f"{place}_slide_score": 2 * value}
            found |= {f"{place}_q_value": 0.0001, f"{place}_direction": direction}
        return Measurement(found)

    experiment = replace(quick(seeds=seeds), measure=figures)
    result: BandingExperimentResult = run_experiment(experiment, folder, jobs=1, runner=made_up_run)  # type: ignore[assignment]
    return result


def statements(result: BandingExperimentResult) -> str:
    return " ".join(finding.statement for finding in banding_findings(result))


def test_each_part_has_its_sentence(tmp_path: Path) -> None:
    told = statements(made(tmp_path, scores=SCORES))
    assert "both of the last two layers band horizontally, in both seeds" in told
    assert "turns the bands, in both layers and both seeds" in told
    assert "Without pooling B is 17% of the baseline's in the penultimate layer and 17%" in told
    assert "Where position does not matter nothing bands, in both seeds." in told


def test_what_did_not_happen_is_not_said(tmp_path: Path) -> None:
    told = statements(made(tmp_path, scores=dict.fromkeys(("baseline", "rotated-90", "control"), -0.2)))
    assert "The baseline's last layer does not band horizontally in both seeds: vertical in two." in told
    assert "Of two controls, two are banded: doubt the rest." in told
    upright = statements(made(tmp_path / "again", scores=SCORES | {"rotated-90": 0.3}))
    assert "does not turn the bands in every seed" in upright


def test_a_share_of_a_baseline_that_is_not_told_from_0_is_left_out(tmp_path: Path) -> None:
    result = made(tmp_path, scores={"baseline": 0.0})
    (persisted,) = [finding for finding in banding_findings(result) if finding.plate == "verdicts"]
    assert persisted.evidence
    assert all("nan" not in line and "of the baseline's" not in line for line in persisted.evidence)
    assert persisted.evidence[0].startswith("masks-3 B = +0.25")


def test_titles_count_and_name(tmp_path: Path) -> None:
    result = made(tmp_path, scores=SCORES)
    assert bands_title(result).startswith("The last layer is banded horizontally in ")
    assert bands_title(result).endswith(", vertically in rotated-90")
    assert classifier_title(result) == "What the classifier makes of the map"


@pytest.mark.parametrize("lost", ["baseline", "control", "no-pooling"])
def test_parts_that_could_not_be_run_have_no_sentence(tmp_path: Path, lost: str) -> None:
    def runner(configuration: Configuration, folder: Path) -> Run:
        if folder.parent.name == lost:
            message = "memory ran out"
            raise MemoryError(message)
        return made_up_run(configuration, folder)

    whole = made(tmp_path / "whole", scores=SCORES)
    result = run_experiment(whole.experiment, tmp_path / "part", jobs=1, runner=runner)
    assert len(banding_findings(result)) < len(banding_findings(whole))  # type: ignore[arg-type]
