from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.banding_measures import PLACES
from weightatlas.lab.experiments.banding_plates import banding_plates
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_banding import quick
from weightatlas.plate import Slides

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from weightatlas.lab import Configuration, Run
    from weightatlas.lab.experiments.banding_result import BandingExperimentResult


def figures(run: Run) -> Measurement:
    found: dict[str, float | str] = {}
    arrays: dict[str, npt.NDArray[Any]] = {}
    for place in PLACES:
        found |= {f"{place}_score": 0.3, f"{place}_slide_score": 0.7 if place == "last" else 0.2}
        found |= {f"{place}_layer": f"conv of seed {run.configuration.seed}", f"{place}_direction": "horizontal"}
        arrays |= {f"{place}/slides": np.zeros((2, 3, 3, 3), dtype=np.uint8), f"{place}/order": np.arange(2)}
        arrays |= {f"{place}/unit_scores": np.zeros(2)}
    return Measurement(found, arrays)


def made(folder: Path, *lost: tuple[str, int]) -> BandingExperimentResult:
    """The quick preset, of which some runs cannot be finished."""

    def runner(configuration: Configuration, place: Path) -> Run:
        if (place.parent.name, configuration.seed) in lost:
            message = "memory ran out"
            raise MemoryError(message)
        return made_up_run(configuration, place)

    experiment = replace(quick(), measure=figures)
    result: BandingExperimentResult = run_experiment(experiment, folder, jobs=1, runner=runner)  # type: ignore[assignment]
    return result


def slides(result: BandingExperimentResult) -> Slides:
    (plate,) = [plate for plate in banding_plates(result) if isinstance(plate, Slides)]
    return plate


def test_slides_are_of_the_first_seed_and_striped_ones_are_counted(tmp_path: Path) -> None:
    plate = slides(made(tmp_path))
    assert {layer.layer.partition(": ")[2] for layer in plate.layers} == {"conv of seed 1"}
    assert plate.heading.title.startswith("Of 16 slides of the last two layers eight are striped")


def test_where_a_seed_lacks_variants_slides_are_of_one_that_has_more(tmp_path: Path) -> None:
    plate = slides(made(tmp_path, ("no-pooling", 1), ("control", 1), ("control", 2)))
    assert {layer.layer.partition(": ")[2] for layer in plate.layers} == {"conv of seed 3"}
    assert len(plate.layers) == 16


def test_without_a_finished_run_there_are_no_slides_and_no_charts(tmp_path: Path) -> None:
    names = [variant.name for variant in quick().variants]
    result = made(tmp_path, *((name, seed) for name in names for seed in (1, 2, 3)))
    assert not any(isinstance(plate, Slides) for plate in banding_plates(result))
    assert "could not be finished" in result.save(tmp_path / "atlas.html").read_text(encoding="utf-8")
