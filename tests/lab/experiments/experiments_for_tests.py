"""A small experiment whose runs are made up: figures that are known, without training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from weightatlas.lab import Configuration, DivergedError, Recipe, Run
from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.experiment import Experiment, Measure, Measurement, Variant
from weightatlas.lab.experiments.result import ExperimentResult, experiment_tables

if TYPE_CHECKING:
    from pathlib import Path

MEASURES = (
    Measure("score", "the score", compared=True),
    Measure("q_value", "its q", "probability"),
    Measure("kind", "its kind", "text"),
)
SCORES = {"baseline": 0.3, "weak": 0.1, "none": 0.01, "broken": 0.0}
STEPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class SmallResult(ExperimentResult):
    """The result of the made-up experiment."""

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = experiment_tables(MEASURES)


def configuration(name: str) -> Configuration:
    return Configuration(model=f"made-up:{name}", data="scenes", recipe=Recipe(steps=STEPS))


def measure(run: Run) -> Measurement:
    score = float(json.loads(run.checkpoint.read_text(encoding="utf-8"))["score"])
    return Measurement({"score": score, "q_value": 0.0, "kind": "made up"}, {"slide": np.full((1, 2), score)})


def experiment(*names: str, seeds: tuple[int, ...] = (1, 2, 3)) -> Experiment:
    """Variants by name, in that order; all but the baseline are compared with it."""
    claims = {
        "baseline": (Claim(measure="score", expected="present", floor=0.06, significant="q_value", article="bands"),),
        "weak": (
            Claim(measure="score", expected="present", floor=0.06, significant="q_value", article="persisted"),
            Claim(measure="score", expected="under half"),
        ),
        "none": (Claim(measure="score", expected="present", floor=0.06, article="persisted"),),
    }
    variants = tuple(
        Variant(
            name=name,
            configuration=configuration(name),
            against=None if name in ("baseline", (names or ("",))[0]) else "baseline",
            claims=claims.get(name, ()),
        )
        for name in names or ("baseline", "weak", "none")
    )
    return Experiment(
        name="made-up",
        preset="small",
        variants=variants,
        seeds=seeds,
        measures=MEASURES,
        measure=measure,
        result=SmallResult,
    )


def made_up_run(configuration: Configuration, folder: Path) -> Run:
    """Stand for training: write a score that the name and the seed decide, or fail as the name says."""
    name = configuration.model.partition(":")[2]
    checkpoint = folder / "weights.json"
    reused = checkpoint.is_file()
    if name == "broken":
        message = "the loss is nan at step 3"
        raise DivergedError(message)
    if name == "killer":
        os._exit(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text(
        "".join(f'{{"step": {step}}}\n' for step in range(1, STEPS + 1)), encoding="utf-8"
    )
    if not reused:
        score = (
            SCORES.get(name, 0.2)
            + 0.002 * configuration.seed**2
            + (0.001 * configuration.seed if name == "none" else 0.0)
        )
        checkpoint.write_text(json.dumps({"score": score, "process": os.getpid()}), encoding="utf-8")
    return Run(
        configuration=configuration,
        folder=folder,
        checkpoint=checkpoint,
        steps=STEPS,
        train_loss=0.1,
        train_accuracy=0.9,
        test_loss=None,
        test_accuracy=None,
        test_top5=None,
        parameters=10,
        seconds=60.0,
        reused=reused,
    )


def with_seeds(made: Experiment, *seeds: int) -> Experiment:
    return replace(made, seeds=seeds)


def with_values(chart: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a chart of altair
    """The panels of a joined chart as Vega-Lite, the data of each layer in its place."""
    spec = chart.to_dict()

    def fill(node: dict[str, Any]) -> None:
        data = node.get("data", {})
        if "name" in data:
            node["data"] = {"values": spec["datasets"][data["name"]]}
        for layer in node.get("layer", ()):
            layer.setdefault("data", data)
            fill(layer)

    for panel in spec["hconcat"]:
        fill(panel)
    panels: list[dict[str, Any]] = spec["hconcat"]
    return panels
