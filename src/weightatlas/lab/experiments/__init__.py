"""Experiments: a matrix of variants and seeds, run, measured, compared with its baseline and judged."""

from __future__ import annotations

from weightatlas.lab.experiments.catalogue import EXPERIMENTS, open_experiment
from weightatlas.lab.experiments.claims import Claim, verdict
from weightatlas.lab.experiments.comparing import Comparison
from weightatlas.lab.experiments.effects import Effect, Interval, mean_interval, paired_effect
from weightatlas.lab.experiments.experiment import Experiment, Measure, Measurement, Variant
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.result import ExperimentResult, ExperimentRun, experiment_tables

__all__ = [
    "EXPERIMENTS",
    "Claim",
    "Comparison",
    "Effect",
    "Experiment",
    "ExperimentResult",
    "ExperimentRun",
    "Interval",
    "Measure",
    "Measurement",
    "Variant",
    "experiment_tables",
    "mean_interval",
    "open_experiment",
    "paired_effect",
    "run_experiment",
    "verdict",
]
