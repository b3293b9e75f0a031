from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from weightatlas.errors import SourceError
from weightatlas.lab.experiments.banding_measures import _without_values
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_banding import IDEAS, PERSISTED, PRESETS, quick, sized
from weightatlas.nn import HEADS

if TYPE_CHECKING:
    from pathlib import Path


def test_every_head_of_the_house_is_a_variant_of_the_large_presets() -> None:
    named = {*PERSISTED, *IDEAS, "gap", "no-pooling", "x-pooling"}
    assert named - {"coordconv"} == set(HEADS)
    for preset in ("cifar10", "paper"):
        variants = {variant.name for variant in PRESETS[preset]("data").variants}
        assert {*named, "baseline", "rotated-90", "random-rotation", "vgg19.no-pooling"} - {"gap"} <= variants


def test_what_the_article_did_not_run_carries_no_claim() -> None:
    for variant in PRESETS["paper"]("data").variants:
        assert bool(variant.claims) == (variant.name not in IDEAS)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "quick"])
def test_real_images_must_be_named(preset: str) -> None:
    with pytest.raises(SourceError, match="needs data"):
        PRESETS[preset]()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["cifar10", "paper"])
def test_every_network_of_the_large_presets_can_be_built(preset: str) -> None:
    parameters = {}
    for variant in PRESETS[preset]("data").variants:
        data, crop = variant.configuration.data, variant.configuration.augmentation.crop
        size = crop or (int(data.rpartition("=")[2]) if "size=" in data else 32)
        model = _without_values(variant.configuration, size)
        parameters[variant.name] = sum(parameter.numel() for parameter in model.parameters())
    assert parameters["no-pooling"] > parameters["x-pooling"] > parameters["baseline"] == parameters["rotated-90"]
    for name in ("inception-v1", "resnet50", "vgg19"):
        assert parameters[f"{name}.no-pooling"] > parameters[name]


@pytest.mark.slow
def test_the_quick_preset_runs_from_end_to_end(tmp_path: Path) -> None:
    made = quick(seeds=(1,))
    short = tuple(
        replace(
            variant,
            configuration=replace(
                variant.configuration,
                model=variant.configuration.model + "&width=0.25",
                recipe=replace(variant.configuration.recipe, steps=2, batch_size=8),
            ),
        )
        for variant in made.variants
    )
    result = run_experiment(replace(made, variants=short), tmp_path, jobs=1)
    rows = result.rows("runs")
    assert [row["skipped"] for row in rows] == [None] * len(short)
    assert all(row["last_layer"] == "conv5b" and row["penultimate_layer"] == "conv5a" for row in rows)
    assert {row["variant"] for row in result.rows("profiles") if row["axis"]} == {"no-pooling", "x-pooling"}


def test_a_size_is_added_to_a_name_with_or_without_options() -> None:
    assert sized("cifar10:data?split=train", 24) == "cifar10:data?split=train&size=24"
