"""Train networks, intervene and compare: where a cause is tested."""

from __future__ import annotations

from weightatlas.lab.breakdown import DivergedError, OutOfMemoryError
from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.configuration_file import read_configuration
from weightatlas.lab.demo import Demo, DemoError, DemoNetwork, demo
from weightatlas.lab.devices import Devices
from weightatlas.lab.forking import Fork
from weightatlas.lab.interventions import INTERVENTIONS, intervene
from weightatlas.lab.records import RunFolder
from weightatlas.lab.running import Run, run
from weightatlas.lab.training import Training, train

__all__ = [
    "INTERVENTIONS",
    "Configuration",
    "Demo",
    "DemoError",
    "DemoNetwork",
    "Devices",
    "DivergedError",
    "Fork",
    "OutOfMemoryError",
    "Recipe",
    "Run",
    "RunFolder",
    "Training",
    "demo",
    "intervene",
    "read_configuration",
    "run",
    "train",
]
