"""Made-up runs of the degeneracy experiment: what is free, spared and ordered is planted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.degeneracy import quick
from weightatlas.lab.experiments.degeneracy_variants import network_of
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Configuration, Run
    from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult
    from weightatlas.lab.experiments.experiment import Experiment

PARAMETERS = 1000
UNION, GAP = 300, 5
PCA_EDGES = 100
SPARED = {"digits": 0.25, "mixed": -0.2}
"""Of the edges of principal components; every other network spares nothing, give or take one."""


def trained(configuration: Configuration, folder: Path) -> Run:
    """A run that was not made; the higher the seed, the higher its held-out loss."""
    done = made_up_run(configuration, folder)
    return replace(
        done, test_loss=0.1 * configuration.seed, test_accuracy=1 - 0.01 * configuration.seed, parameters=PARAMETERS
    )


def figures(run: Run) -> Measurement:
    """The union falls from seed to seed; the modular network has more that is free, and less curvature."""
    name, seed = run.folder.parent.name, run.configuration.seed
    modular = name == "modular"
    union = UNION - seed + 100 * modular
    needed = round(PCA_EDGES * (1 - SPARED.get(name, 0.0))) + (seed % 3 - 1)
    found: dict[str, float | int | str | None] = {
        "union": union,
        "nullity": union + GAP,
        "free_share": (union + GAP) / PARAMETERS,
        "gap": GAP,
        "rank": PARAMETERS - union - GAP,
        "rank_limit": 4000,
        "data_limited": 0,
        "followed": 1e-11,
        "followed_order": -11.0,
        "followed_random": 0.8,
        "llc": 50.0 - 20 * modular + 0.1 * (seed % 2),
        "llc_flags": "",
        "edges": needed,
        "edges_pca": PCA_EDGES,
        "edges_gain": 1 - needed / PCA_EDGES,
        "modules": 2,
        "modularity": 0.4 + 0.2 * modular,
        "modularity_gain": 0.05 + 0.2 * modular + 0.001 * seed,
        "modules_p": 0.025 if modular else 0.5,
        "modules_stability": 0.9,
        "missing": "",
    }
    points = network_of(run.configuration.model).points
    arrays = {
        "layers/name": np.array(["first", "second"]),
        "layers/parameters": np.array([600, 400]),
        "layers/activations": np.array([200, 0]),
        "layers/gradients": np.array([0, -1]),
        "layers/synchronised": np.array([10, 0]),
        "layers/union": np.array([210, 0]),
        "layers/effective_rank": np.array([5.5, np.nan]),
        "layers/width": np.array([12, 0]),
        "curve/examples": np.array([1, 2, 400]),
        "curve/ranks": np.array([10, 20, PARAMETERS - union - GAP]),
        "curve/limits": np.array([10, 20, 4000]),
        "course/step": np.array([0, 10]),
        "course/loss": np.array([2.3, 0.1]),
        "course/test_accuracy": np.array([0.1, 0.9]),
        "course/llc": np.array([-3.0, 50.0]),
        "course/low": np.array([-5.0, 45.0]),
        "course/high": np.array([-1.0, 55.0]),
        "course/flags": np.array(["the estimate is negative", ""]),
        "edges/source": np.array(points[:-1]),
        "edges/target": np.array(points[1:]),
        "edges/interaction": np.full(len(points) - 1, needed),
        "edges/pca": np.full(len(points) - 1, PCA_EDGES),
        "edges/all": np.full(len(points) - 1, 900),
    }
    return Measurement(found, arrays)


def made(folder: Path, experiment: Experiment | None = None) -> DegeneracyResult:
    """The quick preset, or another experiment, with these figures."""
    chosen = replace(quick() if experiment is None else experiment, measure=figures)
    result: DegeneracyResult = run_experiment(chosen, folder, jobs=1, runner=trained)  # type: ignore[assignment]
    return result
