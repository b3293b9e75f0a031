from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.lab.devices import Devices
from weightatlas.lab.experiments.branch_specialization import PRESETS, RECORDS, cifar10_small, quick
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.plan import kept_steps, make_plan
from weightatlas.lab.running import run

if TYPE_CHECKING:
    from pathlib import Path

DATA = {"quick": None, "cifar10-small": "cifar10:a", "cifar10": "cifar10:a", "paper": "imagenet"}


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "quick"])
def test_photographs_must_be_named(preset: str) -> None:
    with pytest.raises(SourceError, match="needs data"):
        PRESETS[preset]()


def test_the_quick_preset_brings_its_own_data() -> None:
    with pytest.raises(SourceError, match="brings its own data; drop --data"):
        quick("cifar10:a")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_every_question(preset: str) -> None:
    made = PRESETS[preset](DATA[preset])
    names = [variant.name for variant in made.variants]
    assert names == [variant.name for variant in quick().variants]
    assert len({variant.configuration.identity for variant in made.variants}) == len(names)
    with torch.device("meta"):
        for variant in made.variants:
            model = open_model(variant.configuration.model)
            assert sum(parameter.numel() for parameter in model.parameters()) > 10_000


def test_a_network_and_its_twin_start_from_the_same_first_layer() -> None:
    models = {variant.name: variant.configuration.model for variant in quick().variants}
    for twin, names in (("one-branch", ("two-branches", "four-branches")), ("alexnet-one-group", ("alexnet",))):
        first = open_model(models[twin], seed=3).get_parameter("conv1.weight")
        for name in names:
            assert torch.equal(open_model(models[name], seed=3).get_parameter("conv1.weight"), first)


@pytest.mark.parametrize(("preset", "examples"), [("quick", None), ("cifar10-small", 50_000), ("cifar10", 50_000)])
def test_first_weights_and_enough_checkpoints_are_kept_for_the_onset(preset: str, examples: int | None) -> None:
    for variant in PRESETS[preset](DATA[preset]).variants:
        configuration = variant.configuration
        kept = kept_steps(make_plan(configuration.recipe, examples), configuration.keep, configuration.every)
        assert 0 in kept
        assert len(kept) > RECORDS


def test_images_are_those_the_networks_are_built_for() -> None:
    for variant in cifar10_small("cifar10:a").variants:
        size = 32 if variant.name.startswith("alexnet") else 24
        assert f"size={size}&normalize=cifar10" in variant.configuration.data
        assert "resnet" in variant.configuration.model or f"input_size={size}" in variant.configuration.model


def test_what_is_compared_with_what_is_compared_comes_along() -> None:
    made = open_experiment("branch-specialization", variants=["narrow-large"])
    assert [variant.name for variant in made.variants] == ["equal", "narrow-small", "narrow-large"]


@pytest.mark.slow
def test_the_quick_preset_runs_from_end_to_end(tmp_path: Path) -> None:
    made = quick(seeds=(1,))
    narrower = {"width=0.5": "width=0.25", "parallel-branches?": "parallel-branches?width=0.5&", "resnet56": "resnet20"}
    short = []
    for variant in made.variants:
        model = variant.configuration.model
        for wide, narrow in narrower.items():
            model = model.replace(wide, narrow)
        recipe = replace(variant.configuration.recipe, steps=2, batch_size=4)
        configuration = replace(variant.configuration, model=model, recipe=recipe, every=1)
        short.append(replace(variant, configuration=configuration))
    result = run_experiment(
        replace(made, variants=tuple(short)),
        tmp_path,
        jobs=1,
        runner=partial(run, devices=Devices(accelerator="cpu")),
    )
    rows = {row["variant"]: row for row in result.rows("runs")}
    assert [row["skipped"] for row in rows.values()] == [None] * len(short)
    for name, row in rows.items():
        measured = "block_separation" if name in ("shallow", "deep") else "separation"
        assert row[measured] is not None
        assert np.isfinite(row[measured])
    assert rows["narrow-large"]["chroma_narrow"] == rows["narrow-large"]["chroma_large"]
    assert rows["narrow-small"]["chroma_narrow"] == -rows["narrow-small"]["chroma_large"]
    assert rows["one-branch"]["hidden_p"] is not None
    assert {row["step"] for row in result.rows("onset") if row["variant"] == "alexnet"} == {0, 1, 2}
    assert result.plates()
