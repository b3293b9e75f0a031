"""Made-up runs of the mode connectivity experiment: what width, matching, statistics and forks do is planted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.mode_connectivity import quick
from weightatlas.lab.experiments.mode_connectivity_measures import WAYS, key_of
from weightatlas.lab.experiments.mode_connectivity_variants import place_of

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.experiment import Experiment
    from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult

ALPHAS = np.array([0, 0.25, 0.5, 0.75, 1])
LATE = 0.01
"""Of the error barrier of forks from a quarter of the run on."""


def planted(name: str, *, matched: bool, recalibrated: bool) -> float:
    """The loss barrier of a pair: halved by doubling the width, by matching and by statistics; late forks have none."""
    place = place_of(name)
    if place.share is not None and place.share >= 0.25:
        return LATE
    return 0.4 / place.width * 0.5**matched * 0.5**recalibrated


def figures(partner: Run, own: Run) -> Measurement:
    name, seed = own.folder.parent.name, own.configuration.seed
    assert partner.configuration.seed == seed
    noise = np.random.default_rng([seed, *name.encode()]).uniform(-0.002, 0.002)
    found: dict[str, float | str] = {}
    arrays = {"line/alpha": ALPHAS}
    for matched, recalibrated in WAYS:
        height = planted(name, matched=matched, recalibrated=recalibrated) + noise
        found[key_of("barrier", matched=matched, recalibrated=recalibrated)] = height
        found[key_of("error_barrier", matched=matched, recalibrated=recalibrated)] = height
        for what in ("loss", "error"):
            key = key_of(what, matched=matched, recalibrated=recalibrated)
            arrays[f"line/{key}"] = 0.1 + height * np.sin(np.pi * ALPHAS)
    found["log_barrier"] = np.log10(found["barrier_matched_recalibrated"])
    found["matching_gain"] = float(found["barrier_recalibrated"]) - float(found["barrier_matched_recalibrated"])
    found["recalibration_gain"] = float(found["barrier_matched"]) - float(found["barrier_matched_recalibrated"])
    found |= {"similarity": 0.01, "similarity_matched": 0.2}
    if place_of(name).role == "fork":
        return Measurement(found | {"angle": 60.0, "travelled": 2.0}, arrays)
    found |= {"layer_rank": 0.75, "layer_rank_p": 0.01 + abs(noise)}
    arrays |= {"layers/name": np.array(["conv1", "fc"]), "layers/barrier": np.array([0.0, 0.3])}
    arrays["layers/rise"] = np.array([-0.1, 0.3])
    return Measurement(found, arrays | {"layers/predicted": np.array([0.2, 0.9])})


def made(folder: Path, experiment: Experiment | None = None) -> ModeConnectivityResult:
    """The quick preset, or another experiment, with these figures."""
    chosen = replace(quick() if experiment is None else experiment, measure_pair=figures)
    result: ModeConnectivityResult = run_experiment(chosen, folder, jobs=1, runner=made_up_run)  # type: ignore[assignment]
    return result
