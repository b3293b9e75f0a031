"""Train networks, intervene and compare: where a cause is tested."""

from __future__ import annotations

from weightatlas.lab.demo import Demo, DemoNetwork, demo
from weightatlas.lab.training import DivergedError, Recipe, TrainingRun, accuracy, train

__all__ = ["Demo", "DemoNetwork", "DivergedError", "Recipe", "TrainingRun", "accuracy", "demo", "train"]
