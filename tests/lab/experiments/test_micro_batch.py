from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.lab.devices import Devices
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.micro_batch import (
    PRESETS,
    cifar10,
    cifar10_rates,
    cifar10_small,
    cifar10_small_rates,
    quick,
    quick_rates,
)
from weightatlas.lab.experiments.micro_batch_course import COURSE
from weightatlas.lab.experiments.micro_batch_variants import ALL, MAIN, method_of
from weightatlas.lab.running import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.lab.experiments.experiment import Experiment

OURS = {
    "quick": None,
    "quick-rates": None,
    "cifar10-small": "cifar10:a",
    "cifar10-small-rates": "cifar10:a",
    "cifar10": "cifar10:a",
    "cifar10-rates": "cifar10:a",
}


@pytest.mark.parametrize("preset", [name for name in OURS if name.startswith("cifar10")])
def test_photographs_must_be_named(preset: str) -> None:
    with pytest.raises(SourceError, match="needs data"):
        PRESETS[preset]()


@pytest.mark.parametrize("preset", ["quick", "quick-rates"])
def test_scenes_are_built_in(preset: str) -> None:
    with pytest.raises(SourceError, match="brings its own data; drop --data"):
        PRESETS[preset]("cifar10:a")


@pytest.mark.parametrize("preset", OURS)
def test_every_network_can_be_built(preset: str) -> None:
    made = PRESETS[preset](OURS[preset])
    assert made.preset == preset
    models = {variant.configuration.model for variant in made.variants}
    with torch.device("meta"):
        for name in models:
            assert sum(parameter.numel() for parameter in open_model(name).parameters()) > 10_000


def test_the_presets_have_the_methods_and_batches_of_the_issue() -> None:
    def cells(made: Experiment) -> set[tuple[str, str, int | None]]:
        return {method_of(variant.name) for variant in made.variants}

    classes = {("", method, batch) for method in MAIN for batch in (1, 16)}
    masks = {("masks", method, batch) for method in ("bn", "gn", "gn-ws", "bcn-ws") for batch in (1, 16)}
    assert cells(quick()) == classes | masks
    assert cells(cifar10_small("cifar10:a")) == {("", method, batch) for method in ALL for batch in (2, 64)}
    assert cells(cifar10("cifar10:a")) == {("", method, batch) for method in ALL for batch in (1, 2, 4, 64)}
    assert quick().seeds == (1, 2, 3)


@pytest.mark.parametrize(
    ("preset", "rates", "data"),
    [
        (quick, quick_rates, None),
        (cifar10_small, cifar10_small_rates, "cifar10:a"),
        (cifar10, cifar10_rates, "cifar10:a"),
    ],
)
def test_learning_rates_are_of_those_that_were_tried_with_a_seed_that_no_preset_has(
    preset: Callable[..., Experiment], rates: Callable[..., Experiment], data: str | None
) -> None:
    made, tried = preset(data), rates(data)
    assert not set(made.seeds) & set(tried.seeds)
    largest = max(variant.configuration.recipe.batch_size for variant in made.variants)
    runs = {json.dumps(variant.configuration.to_dict()) for variant in tried.variants}
    for variant in made.variants:
        if variant.configuration.recipe.batch_size == largest:
            assert json.dumps(variant.configuration.to_dict()) in runs, variant.name
    assert len(tried.variants) == 3 * len({method_of(variant.name)[:2] for variant in made.variants})


def test_what_claims_compare_with_comes_along() -> None:
    names = [variant.name for variant in open_experiment("micro-batch", variants=["bcn-ws.b1"]).variants]
    assert names == ["bn.b16", "bn.b1", "gn.b1", "gn-ws.b1", "bcn.b1", "bcn-ws.b1"]


ONE_OF_A_KIND = ("bn.b16", "gn-ws.b1", "bcn-ws.b1", "masks.bn.b16", "masks.bcn-ws.b1")
"""Every task, norm, way to standardise and size of batch of the preset stands in one of these."""


@pytest.mark.slow
def test_one_run_of_a_kind_of_the_quick_preset_goes_from_end_to_end(tmp_path: Path) -> None:
    made = quick(seeds=(1,))
    apart = {name: made.variant(name) for name in ONE_OF_A_KIND}
    made = replace(made, variants=tuple(replace(one, against=None, claims=()) for one in apart.values()))
    short = []
    for variant in made.variants:
        configuration = variant.configuration
        recipe = replace(configuration.recipe, steps=3)
        model = configuration.model.replace("width=0.5", "width=0.25")
        held_out = (configuration.held_out or "").replace("limit=1024", "limit=64")
        changed = replace(configuration, model=model, recipe=recipe, every=1, held_out=held_out)
        short.append(replace(variant, configuration=changed))
    result = run_experiment(
        replace(made, variants=tuple(short)), tmp_path, jobs=1, runner=partial(run, devices=Devices(accelerator="cpu"))
    )
    rows = {row["variant"]: row for row in result.rows("runs")}
    assert [row["skipped"] for row in rows.values()] == [None] * len(short)
    for name, row in rows.items():
        for key in ("score", "loss_lipschitz", "gradient_lipschitz", "mean_distance", "near_dead", "centring"):
            assert row[key] is not None, (name, key)
            assert np.isfinite(row[key])
    course = [row for row in result.rows("course") if row["variant"] == "masks.bcn-ws.b1"]
    assert [row["step"] for row in course] == [0, 1, 2, 3]
    assert [row["gradient_lipschitz"] is None for row in course] == [True, False, False, False]
    assert set(COURSE) <= set(course[0])
    assert result.plates()
