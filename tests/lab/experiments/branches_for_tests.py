"""Made-up runs of Branch Specialization's experiment: what branches took is known, without training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.branch_blocks import block_arrays, block_figures
from weightatlas.lab.experiments.branch_first_layer import FirstLayer, branch_figures, layer_arrays, signed_figures
from weightatlas.lab.experiments.branch_specialization import quick
from weightatlas.lab.experiments.branch_variants import CROSSED
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.branch_result import BranchExperimentResult
    from weightatlas.lab.experiments.experiment import Experiment

UNITS = 32
NARROWNESS, LARGENESS = 0.3, 0.1
"""What a narrow branch has more of chroma than a wide one, and large kernels more than small ones."""

BRANCHES = {"one-branch": 1, "two-branches": 2, "four-branches": 4, "alexnet-one-group": 1, "alexnet": 2}
STEPS = np.array([0, 2, 4])


def figures(run: Run) -> Measurement:
    """Branches that split colour, but AlexNet's; crossed ones by width and kernel size; blocks that gather."""
    name, seed = run.folder.parent.name, run.configuration.seed
    generator = np.random.default_rng([seed, *name.encode()])
    if name in ("shallow", "deep"):
        stages = {"layer1": [["colour"] * 8, ["other"] * (8 if name == "deep" else 4) + ["colour"] * 4]}
        if name == "shallow":
            stages = {"layer1": [["colour", "other"] * 4, ["other", "colour"] * 4]}
        more = {"block_separation": 0.5 if name == "deep" else -0.1, "block_start": 0.0}
        return Measurement(block_figures(stages) | more, block_arrays(stages))
    layer = crossed(name, generator) if name in CROSSED else split(name, generator)
    found = branch_figures(layer)
    arrays = layer_arrays(layer)
    if BRANCHES.get(name) == 1:
        found |= {"hidden_p": 0.001, "hidden_chroma": 0.7 + 0.01 * seed, "hidden_second_frequency": 0.1 + 0.01 * seed}
        arrays["hidden/axes"] = np.column_stack([layer.chroma, layer.frequency])
    else:
        found |= {"onset": 0.5, "start_separation": 0.0} if name == "two-branches" else {}
        arrays |= {f"onset/{what}": STEPS / 10 for what in ("excess", "separation", "null_std")} | {"onset/step": STEPS}
    if name in CROSSED:
        found |= signed_figures(layer)
    return Measurement(found, arrays)


def split(name: str, generator: np.random.Generator) -> FirstLayer:
    """Units in equal runs, colour in the first half of them; in AlexNet in every other."""
    count = max(BRANCHES[name], 2)
    labels = np.arange(UNITS) * count // UNITS
    high = np.arange(UNITS) < UNITS // 2 if name != "alexnet" else np.arange(UNITS) % 2 == 0
    chroma = np.where(high, 0.8, 0.1) + generator.uniform(-0.05, 0.05, UNITS)
    kernels = tuple(torch.ones(UNITS // count, 3, 5, 5) for _ in range(count))
    names = tuple(f"branch {branch + 1}" for branch in range(count))
    frequency = generator.uniform(0, 0.5, UNITS)
    return FirstLayer(names, labels, kernels, chroma, frequency, chroma, hidden=BRANCHES[name] == 1)


def crossed(name: str, generator: np.random.Generator) -> FirstLayer:
    """Two branches with the planted effects of width and of kernel size."""
    share, first, second, _ = CROSSED[name]
    units = int(UNITS * share)
    labels = (np.arange(UNITS) >= units).astype(np.int64)
    narrow = NARROWNESS * (share < 0.5)
    large = LARGENESS * np.sign(first - second)
    chroma = 0.5 + (narrow + large) / 2 * np.where(labels == 0, 1, -1) + generator.uniform(-0.01, 0.01, UNITS)
    kernels = (torch.ones(units, 3, first, first), torch.ones(UNITS - units, 3, second, second))
    return FirstLayer(("first", "second"), labels, kernels, chroma, generator.uniform(0, 0.5, UNITS), chroma)


def made(folder: Path, experiment: Experiment | None = None) -> BranchExperimentResult:
    """The quick preset, or another experiment, with these figures."""
    chosen = replace(quick(seeds=(1, 2, 3)) if experiment is None else experiment, measure=figures)
    result: BranchExperimentResult = run_experiment(chosen, folder, jobs=1, runner=made_up_run)  # type: ignore[assignment]
    return result
