from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.lab.experiments.experiments_for_tests import made_up_run, with_values
from weightatlas.lab.experiments.banding_charts import DIRECTIONS, bands_chart, bands_rows, classifier_chart
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_banding import quick

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.banding_result import BandingExperimentResult


def figures(run: Run) -> Measurement:
    name = run.folder.parent.name
    sign = -1 if name == "rotated-90" else 1
    direction = "vertical" if sign < 0 else "horizontal"
    found: dict[str, float | str] = {
        "penultimate_score": 0.2 * sign,
        "penultimate_direction": direction,
        "last_score": 0.3 * sign,
    }
    arrays = {"classifier/y": np.array([0.7, 0.2, 0.1])} if name == "x-pooling" else {}
    return Measurement(found | {"last_direction": direction}, arrays)


@pytest.fixture
def result(tmp_path: Path) -> BandingExperimentResult:
    experiment = replace(quick(seeds=(1, 2)), measure=figures)
    made: BandingExperimentResult = run_experiment(experiment, tmp_path, jobs=1, runner=made_up_run)  # type: ignore[assignment]
    return made


def test_both_layers_have_a_panel_and_dots_the_colour_of_their_direction(result: BandingExperimentResult) -> None:
    for panel, size in zip(with_values(bands_chart(result)), (0.2, 0.3), strict=True):
        dots = next(layer for layer in panel["layer"] if "color" in layer["encoding"])
        assert dots["encoding"]["color"]["scale"]["domain"] == list(DIRECTIONS)
        told = {(row["variant"] == "rotated-90", row["class"], row["value"]) for row in dots["data"]["values"]}
        assert told == {(True, "vertical", -size), (False, "horizontal", size)}
    assert len(bands_rows(result)) == 2 * 2 * len(result.experiment.variants)


def test_a_head_that_keeps_one_axis_leaves_the_other_panel_empty(
    result: BandingExperimentResult, tmp_path: Path
) -> None:
    chart = classifier_chart(result)
    down, across = ([layer["data"]["values"] for layer in panel["layer"]] for panel in with_values(chart))
    assert [row["share"] for row in down[0]] == [0.7, 0.2, 0.1] * 2
    assert across == [[], []]
    chart.save(tmp_path / "chart.svg")
    assert "x-pooling" in (tmp_path / "chart.svg").read_text(encoding="utf-8")
