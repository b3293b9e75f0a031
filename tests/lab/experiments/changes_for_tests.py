"""Made-up runs of WeightScale's experiment: measured figures that are known, without training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_change import quick

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.change_result import ChangeExperimentResult
    from weightatlas.lab.experiments.experiment import Experiment

LAYERS = 8
RECORDS = 5
RECRUITMENT = {"scenes-order": 0.6, "scenes-hard": 0.2}
"""By variant; elsewhere .4. A seed adds a little, to the variants more than to their baselines."""


def figures(run: Run) -> Measurement:
    """Curves that rise by e^recruitment from the first third to the last, and fall by half a record."""
    name, seed = run.folder.parent.name, run.configuration.seed
    value = RECRUITMENT.get(name, 0.4) + (0.002 if name in RECRUITMENT else 0.001) * seed
    places = np.clip((np.arange(LAYERS) - 1) // 2, 0, 2) / 2
    curves = np.exp(value * places)[:, None] * 0.1 * 0.5 ** np.arange(RECORDS)
    return Measurement(
        {
            "train_top5": 1.0,
            "recruitment": value,
            "recruitment_elementwise": 2 * value,
            "size": 0.5,
            "size_elementwise": 0.7,
            "size_excess": 0.2 + 0.001 * seed,
            "recruitment_undivided": -0.2 + 0.001 * seed,
            "recruitment_start": 0.6,
            "scale": 0.9 + 0.001 * seed,
            "depth_given_size": (-1) ** seed * 0.3,
            "stability": 0.5 + 0.01 * seed,
            "cluster_p": 0.02 * seed,
        },
        {
            "change/ratio_l1": curves,
            "change/elementwise": 4 * curves,
            "change/layers": np.array([f"layer{number}" for number in range(LAYERS)]),
            "change/steps": np.arange(1, RECORDS + 1) * 10,
            "change/sizes": np.arange(1, LAYERS + 1) * 100,
            "change/first": 0.01 / curves[:, 0],
            "change/inner": np.array([False, *[True] * (LAYERS - 2), False]),
        },
    )


def made(folder: Path, experiment: Experiment | None = None) -> ChangeExperimentResult:
    """The quick preset, or another experiment, with these figures."""
    chosen = replace(quick(seeds=(1, 2, 3)) if experiment is None else experiment, measure=figures)
    result: ChangeExperimentResult = run_experiment(chosen, folder, jobs=1, runner=made_up_run)  # type: ignore[assignment]
    return result
