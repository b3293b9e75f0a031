from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.banding_measures import PLACES
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_banding import quick
from weightatlas.plate import Chart, Finding, Slides

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.result import ExperimentResult

AS_MEASURED = {"baseline": (0.32, 0.29), "rotated-90": (-0.3, -0.25), "no-pooling": (0.03, 0.085), "control": (0, 0.01)}
"""B of the last two layers, about as real runs of the quick preset have it."""


def figures(run: Run, x_pooling: tuple[float, float]) -> Measurement:
    """Figures of a run: those above by its name, with a little luck of its seed."""
    table = AS_MEASURED | {"x-pooling": x_pooling}
    values = table.get(run.folder.parent.name, (0.2, 0.25))
    found: dict[str, float | str] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for place, base in zip(PLACES, values, strict=True):
        value = base + 0.002 * run.configuration.seed * (1 if run.folder.parent.name == "baseline" else 2)
        direction = "none" if abs(value) < 0.06 else "horizontal" if value > 0 else "vertical"
        found |= {
            f"{place}_layer": "conv5b",
            f"{place}_score": value,
            f"{place}_slide_score": 2.5 * value,
            f"{place}_q_value": 0.5 if direction == "none" else 0.0001,
            f"{place}_direction": direction,
        }
        arrays |= {
            f"{place}/slides": np.zeros((2, 3, 3, 3), dtype=np.uint8),
            f"{place}/order": np.arange(2),
            f"{place}/unit_scores": np.full(2, value),
        }
    found["shift"] = abs(float(found["penultimate_score"])) - abs(float(found["last_score"]))
    if run.folder.parent.name == "no-pooling":
        found |= {"row_contrast": 3.0, "column_contrast": 1.5}
        arrays |= {"classifier/y": np.array([0.6, 0.2, 0.2]), "classifier/x": np.array([0.4, 0.3, 0.3])}
    return Measurement(found, arrays)


def made(
    folder: Path, *, x_pooling: tuple[float, float] = (0.1, 0.28), seeds: tuple[int, ...] = (1, 2, 3)
) -> ExperimentResult:
    experiment = replace(quick(seeds=seeds), measure=lambda run: figures(run, x_pooling))
    return run_experiment(experiment, folder, jobs=1, runner=made_up_run)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    return made(tmp_path_factory.mktemp("experiment"))


def statements(result: ExperimentResult) -> list[str]:
    return [plate.statement for plate in result.plates() if isinstance(plate, Finding)]


def test_the_cover_says_what_was_confirmed_and_what_was_not(result: ExperimentResult) -> None:
    told = " ".join(statements(result))
    for sentence in (
        "With global average pooling both of the last two layers band horizontally, in all three seeds.",
        "Turning the images by 90 degrees turns the bands, in both layers and all three seeds.",
        "in the last it stays above 0.06, weakened and not gone.",
        "Pooling along x only does not move the bands back a layer, as it did in the article",
        "Bands persist in all three variants in which the article saw them persist.",
        "Where position does not matter nothing bands, in all three seeds.",
    ):
        assert sentence in told


def test_bands_that_do_move_back_are_said_to(tmp_path: Path) -> None:
    moved = made(tmp_path, x_pooling=(0.3, 0.02))
    assert "moves the bands from the last layer to the one before" in " ".join(statements(moved))


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    alone = made(tmp_path, seeds=(1,))
    assert {row["verdict"] for row in alone.rows("effects")} == {None, "undecided"}
    assert any("none are confirmed" in sentence for sentence in statements(alone))


def test_the_slides_of_both_layers_of_every_variant_stand_side_by_side(result: ExperimentResult) -> None:
    (slides,) = [plate for plate in result.plates() if isinstance(plate, Slides)]
    names = [layer.layer.partition(":")[0] for layer in slides.layers]
    assert names == [variant.name for variant in result.experiment.variants for _ in PLACES]
    assert [layer.facts[0] for layer in slides.layers[:2]] == ["penultimate layer", "last layer"]


def test_profiles_have_a_row_for_each_position(result: ExperimentResult) -> None:
    rows = result.rows("profiles")
    assert len(rows) == 3 * 6
    assert rows[0] == {
        "variant": "no-pooling",
        "seed": 1,
        "axis": "y",
        "position": 0,
        "share": 0.6,
        "uniform": pytest.approx(1 / 3),
        "skipped": None,
    }
    json.dumps(rows, allow_nan=False)


def test_its_charts_and_its_page_are_drawn(result: ExperimentResult, tmp_path: Path) -> None:
    charts = {plate.heading.key: plate for plate in result.plates() if isinstance(plate, Chart)}
    assert list(charts) == ["bands", "classifier"]
    assert charts["bands"].heading.title == (
        "The last layer is banded horizontally in five of eight variants, vertically in rotated-90"
    )
    assert charts["classifier"].heading.title.endswith("3.0 times its lightest, its columns 1.5 times")
    drawing = result.save(tmp_path / "bands.svg").read_text(encoding="utf-8")
    assert all(variant.name in drawing for variant in result.experiment.variants)
    page = result.save(tmp_path / "atlas.html").read_text(encoding="utf-8")
    assert "weakened and not gone" in page
