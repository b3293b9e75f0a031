from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from PIL import Image

from weightatlas.errors import SourceError
from weightatlas.lab.devices import Devices
from weightatlas.lab.experiments.banding_measures import _without_values
from weightatlas.lab.experiments.banding_variants import IDEAS, PERSISTED
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.weight_banding import PRESETS, quick, sized
from weightatlas.lab.last_map import find_last_map
from weightatlas.lab.plan import make_plan
from weightatlas.lab.records import RunFolder
from weightatlas.lab.running import run
from weightatlas.lab.sample_images import trace_images
from weightatlas.nn import HEADS

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS: Final = ("inception-v1", "resnet50", "vgg19", "alexnet")
PHOTOGRAPHS: Final = 1_281_167
"""ImageNet's training images."""


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


def test_the_paper_s_length_and_batches_are_the_article_s() -> None:
    for variant in PRESETS["paper"]("data").variants:
        recipe = variant.configuration.recipe
        assert (recipe.epochs, recipe.batch_size, recipe.batch_schedule) == (90, 512, ((30, 1024),))
    plan = make_plan(PRESETS["paper"]("data").variant("baseline").configuration.recipe, PHOTOGRAPHS, source="ImageNet")
    larger = next(step for step in range(plan.steps) if plan.batch(step)[1] == 1024)
    start, size = plan.batch(plan.steps - 1)
    assert plan.batch(larger)[0] == pytest.approx(30 * PHOTOGRAPHS, abs=512)
    assert start + size == pytest.approx(90 * PHOTOGRAPHS, abs=1024)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["cifar10", "paper"])
def test_the_networks_of_the_large_presets_keep_the_article_s_extent(preset: str) -> None:
    size = {"cifar10": 32, "paper": 224}[preset]
    sides = {"vgg19": 14, "alexnet": 13} if preset == "paper" else {}
    taken: dict[str, int] = {}
    for variant in PRESETS[preset]("data").variants:
        network = variant.name.partition(".")[0]
        model = _without_values(variant.configuration, size)
        found = trace_images(model, variant.name, size)
        last = find_last_map(variant.name, found)
        expected = sides.get(network, 7 if preset == "paper" else 8)
        assert (last.height, last.width) == (expected, expected), variant.name
        taken[variant.name] = model.get_parameter(f"{last.classifier}.weight").shape[1]
        if variant.name.endswith("no-pooling"):
            assert taken[variant.name] == last.channels * expected**2
        assert found.answer.shape == (2, {"cifar10": 10, "paper": 1000 if network in NETWORKS else 1001}[preset])
    assert taken["x-pooling"] == taken["y-pooling"] == (8 * 256 if preset == "cifar10" else 7 * 512)
    assert taken["rotated-90"] == taken["random-rotation"] == taken["baseline"] == taken["attention"]


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


def images(folder: Path) -> Path:
    """A folder as ImageNet's: photographs of several sizes, by split and class."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("n01440764", "n01443537", "n01484850"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                height, width = generator.integers(230, 330, size=2)
                pixels = generator.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{name}_{number}.JPEG", quality=70)
    return folder


@pytest.mark.slow
def test_the_paper_s_runs_are_made_for_two_steps(tmp_path: Path) -> None:
    named = ["baseline", "inception-v1.no-pooling", "resnet50", "alexnet"]
    data = str(images(tmp_path / "imagenet"))
    made = open_experiment(
        "weight-banding", preset="paper", data=data, variants=named, seeds=[1], steps=2, batch_size=2
    )
    result = run_experiment(made, tmp_path / "runs", jobs=1, runner=partial(run, devices=Devices(accelerator="cpu")))
    rows = {row["variant"]: row for row in result.rows("runs")}
    assert {name: row["skipped"] for name, row in rows.items()} == dict.fromkeys(
        ["baseline", "inception-v1", "inception-v1.no-pooling", "resnet50", "alexnet"]
    )
    assert rows["baseline"]["parameters"] == 18_494_857
    assert rows["inception-v1.no-pooling"]["parameters"] == 6_624_904 + 48 * 1024 * 1000
    assert rows["inception-v1"]["last_layer"] == "inception5b.branch3.1.conv"
    assert rows["resnet50"]["last_layer"] == "layer4.2.conv2"
    assert rows["alexnet"]["last_layer"] == "conv5"
    for finished in result.finished:
        manifest = json.loads((finished.folder / "manifest.json").read_text())
        assert manifest["configuration"]["recipe"]["precision"] == "bf16-mixed"
        assert manifest["data"]["train"]["shape"] == [3, 224, 224]
        assert finished.run is not None
        assert finished.run.steps == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"), ()], ids=["torchrun", "own"]
)
def test_one_group_of_processes_makes_one_run_after_the_other(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    options = {"preset": "quick", "folder": str(tmp_path / "runs"), "steps": "2", "batch-size": "4", "seeds": "1"}
    options |= {"variants": "no-pooling", "devices": "2", "accelerator": "cpu", "format": "json"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    arguments = [*launcher, "-m", "weightatlas", "experiment", "weight-banding", *words, "--quiet"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *arguments],
        env=inherited | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout)
    assert [(row["variant"], row["skipped"]) for row in rows] == [("baseline", None), ("no-pooling", None)]
    for name in ("baseline", "no-pooling"):
        folder = RunFolder(tmp_path / "runs" / name / "seed-1")
        assert json.loads((folder.path / "manifest.json").read_text())["machine"]["processes"] == 2
        assert [row["step"] for row in folder.rows() if "loss" in row] == [1, 2]
        assert folder.saved() == (2,)
