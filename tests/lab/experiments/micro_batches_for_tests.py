"""Made-up runs of the micro-batch experiment: what each method does to accuracy, loss and channels is planted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.micro_batch import quick
from weightatlas.lab.experiments.micro_batch_course import COURSE
from weightatlas.lab.experiments.micro_batch_variants import BCN, BCN_WS, BN, GN, MICRO, SCALED, WS, method_of

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.experiment import Experiment
    from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult

SCORES = {BN: 0.9, GN: 0.7, WS: 0.8, "gn-centred": 0.79, SCALED: 0.71, BCN: 0.85, BCN_WS: 0.91}
"""What each method scores; batch norm loses half of it in micro-batches."""

ROUGH, SMOOTH = 2.0, 1.0
FAR, NEAR = 0.5, 0.1
STEPS = (0, 2, 4)


def figures(run: Run) -> Measurement:
    """The paper's claims, but that standardised weights are smoother behind batch-channel norm."""
    name, seed = run.folder.parent.name, run.configuration.seed
    _, method, batch = method_of(name)
    noise = np.random.default_rng([seed, *name.encode()]).uniform(-0.002, 0.002)
    small = batch is not None and batch <= MICRO
    score = SCORES[method] * (0.5 if method == BN and small else 1.0) + 0.01 * seed + noise
    rough = SMOOTH if method == WS else ROUGH
    distance = NEAR if method in (BN, BCN, BCN_WS) else FAR
    found = {
        "score": score,
        "loss_lipschitz": rough + noise,
        "gradient_lipschitz": 2 * rough + noise,
        "mean_distance": distance + noise,
        "std_distance": distance + noise,
        "near_dead": distance / 10 + noise / 10,
        "learning_rate": run.configuration.recipe.learning_rate,
        "batch": run.configuration.recipe.batch_size,
    }
    course = {key: np.full(len(STEPS), found.get(key, 0.5)) for key in COURSE}
    course["step"], course["images"] = np.array(STEPS), np.array(STEPS) * found["batch"]
    course["gradient_lipschitz"][0] = np.nan
    return Measurement(found, {f"course/{key}": values for key, values in course.items()})


def made(folder: Path, experiment: Experiment | None = None) -> MicroBatchResult:
    """The quick preset, or another experiment, with these figures."""
    chosen = replace(quick(seeds=(1, 2, 3)) if experiment is None else experiment, measure=figures)
    result: MicroBatchResult = run_experiment(chosen, folder, jobs=1, runner=made_up_run)  # type: ignore[assignment]
    return result
