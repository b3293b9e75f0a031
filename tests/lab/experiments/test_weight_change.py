from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.lab.devices import Devices
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.change_measures import ANALYSIS
from weightatlas.lab.experiments.change_paper import TABLE_2
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_change import PRESETS, quick
from weightatlas.lab.plan import kept_steps, make_plan
from weightatlas.lab.running import run

if TYPE_CHECKING:
    from pathlib import Path

ALL = "cifar10:a,cifar100:b,svhn:c"


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "quick"])
def test_photographs_must_be_named(preset: str) -> None:
    with pytest.raises(SourceError, match="needs data"):
        PRESETS[preset]()


def test_the_quick_preset_brings_its_own_data() -> None:
    with pytest.raises(SourceError, match="brings its own data; drop --data"):
        quick("cifar10:a")


def test_the_paper_preset_has_every_row_of_its_table_and_trains_as_it_says() -> None:
    made = PRESETS["paper"](ALL)
    assert set(TABLE_2) <= {variant.name for variant in made.variants}
    assert {variant.name.partition(".")[0] for variant in made.variants} == {"resnet34", "resnet50", "efficientnet-b4"}
    for variant in made.variants:
        recipe, enlarged = variant.configuration.recipe, variant.name.startswith("efficientnet")
        assert (recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.learning_rate) == (25, 128, "adam", 1e-3)
        assert (recipe.schedule, recipe.weight_decay, recipe.warmup) == ("constant", 0, 0)
        assert ("size=224" in variant.configuration.data) == enlarged
        assert "normalize=imagenet" in variant.configuration.data


@pytest.mark.parametrize(("preset", "examples"), [("quick", None), ("cifar10-small", 50_000), ("paper", 50_000)])
def test_a_run_keeps_its_first_weights_and_gives_25_changes(preset: str, examples: int | None) -> None:
    for variant in PRESETS[preset](None if preset == "quick" else ALL).variants:
        configuration = variant.configuration
        plan = make_plan(configuration.recipe, examples)
        kept = kept_steps(plan, configuration.keep, configuration.every)
        assert 0 in kept
        assert len(kept) == 26


def test_what_is_compared_with_what_is_compared_comes_along() -> None:
    made = open_experiment(
        "weight-change", preset="cifar10-small", data="cifar10:a,cifar100:b", variants=["resnet18.cifar100-coarse"]
    )
    assert [variant.name for variant in made.variants] == [
        "resnet18.cifar10",
        "resnet18.cifar100",
        "resnet18.cifar100-coarse",
    ]
    alone = open_experiment("weight-change", preset="cifar10-small", data="cifar10:a")
    assert [variant.name for variant in alone.variants] == ["resnet18.cifar10"]


def test_the_paper_s_networks_have_its_sizes() -> None:
    variants = {
        variant.name: variant.configuration.model for variant in PRESETS["cifar"]("cifar10:a,cifar100:b").variants
    }
    with torch.device("meta"):
        sizes = {
            name: sum(parameter.numel() for parameter in open_model(model).parameters())
            for name, model in variants.items()
        }
    assert sizes["resnet34.cifar10"] == 21_282_122, "21.3 million, as the paper's ResNet50"
    assert sizes["resnet50.cifar10"] == 23_520_842


@pytest.mark.slow
def test_efficientnet_has_the_paper_s_layers_by_their_roles() -> None:
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    model = next(
        variant.configuration.model
        for variant in PRESETS["paper"](ALL).variants
        if variant.name == "efficientnet-b4.cifar10"
    )
    names = [name for name, value in open_model(model).named_parameters() if value.ndim > 1]
    assert len(names) == 161
    assert [sum(part in name for name in names) for part in ("conv_dw", "conv_pwl", ".se.")] == [32, 30, 64]


@pytest.mark.slow
def test_the_quick_preset_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = replace(ANALYSIS.pipeline, nulls=2, inits=3, resamples=2)
    monkeypatch.setattr("weightatlas.lab.experiments.change_measures.ANALYSIS", replace(ANALYSIS, pipeline=pipeline))
    made = quick(seeds=(1,))
    short = tuple(
        replace(
            variant,
            configuration=replace(
                variant.configuration,
                model=variant.configuration.model.replace("width=0.125", "width=0.0625"),
                recipe=replace(variant.configuration.recipe, steps=4, batch_size=4),
                every=2,
            ),
        )
        for variant in made.variants
    )
    result = run_experiment(
        replace(made, variants=short), tmp_path, jobs=1, runner=partial(run, devices=Devices(accelerator="cpu"))
    )
    rows = result.rows("runs")
    assert [row["skipped"] for row in rows] == [None] * len(short)
    assert [row["layers"] for row in rows] == [19, 19, 19, 19, 24, 24]
    assert all(row["records"] == 2 and np.isfinite(row["recruitment"]) for row in rows)
    layers = {row["layer"] for row in result.rows("layers") if row["variant"] == "language" and row["inner"]}
    assert len(layers) == 24
    assert not any("embed" in layer for layer in layers)
    assert result.plates()
