from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from tests.lab.small_runs import CPU, on_points
from weightatlas.lab import Configuration, Recipe, run
from weightatlas.lab.configuration_file import configuration_from

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "weightatlas:simplified?groups=small&width=0.125&classes=10&input_size="


def test_the_manifest_says_what_was_run_on_what_with_what(tmp_path: Path) -> None:
    configuration = on_points(tmp_path, seed=3)
    run(configuration, tmp_path / "run", devices=CPU)
    said = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert configuration_from(said["configuration"]) == configuration
    assert said["versions"].keys() >= {"weightatlas", "python", "torch", "numpy", "lightning-fabric"}
    assert said["versions"]["torch"] == torch.__version__
    assert said["network"]["parameters"] == 59
    train, held_out = said["data"]["train"], said["data"]["held_out"]
    assert (train["examples"], train["shape"], train["classes"], train["skipped"]) == (90, [3], 3, 0)
    assert train["fingerprint"] != held_out["fingerprint"]


def test_the_manifest_names_the_pools_that_were_dropped(tmp_path: Path) -> None:
    configuration = Configuration(
        model="weightatlas:simplified?width=0.03&input_size=32&classes=4",
        data="scenes?size=32&steps=1",
        recipe=Recipe(steps=1, batch_size=4),
    )
    run(configuration, tmp_path, devices=CPU)
    network = json.loads((tmp_path / "manifest.json").read_text())["network"]
    assert network["map_size"] == 8
    assert network["pools"] == [["pool3", 2], ["pool4", 2]]
    assert network["dropped_pools"] == ["pool0", "pool1", "pool2"]
