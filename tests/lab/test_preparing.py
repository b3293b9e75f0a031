from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.data.pictures import encoded
from tests.data.test_cifar import write_python
from tests.lab.small_runs import CPU, equal, on_points, points_in
from weightatlas.data import Augmentation
from weightatlas.errors import SourceError, WeightatlasError
from weightatlas.evaluation import open_model
from weightatlas.lab import Configuration, Recipe, RunFolder, run
from weightatlas.lab.running import row_of

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "weightatlas:simplified?groups=small&width=0.125&classes=10&input_size="


def test_the_first_weights_are_those_of_the_network_by_name(tmp_path: Path) -> None:
    configuration = Configuration(
        model=SMALL + "24", data="scenes?steps=1", seed=5, recipe=Recipe(steps=1, batch_size=4), keep="log"
    )
    run(configuration, tmp_path, devices=CPU)
    model = open_model(SMALL + "24", seed=5)
    model.load_state_dict(load_file(RunFolder(tmp_path).checkpoint(0)))
    assert equal(model, open_model(SMALL + "24", seed=5))


def test_interventions_change_the_network_in_order(tmp_path: Path) -> None:
    configuration = Configuration(
        model=SMALL + "24",
        data="scenes?steps=1",
        interventions=("coordconv", "no-pooling"),
        recipe=Recipe(steps=1, batch_size=4),
    )
    done = run(configuration, tmp_path, devices=CPU)
    plain = run(replace(configuration, interventions=()), tmp_path / "plain", devices=CPU)
    assert done.parameters > plain.parameters
    assert row_of(done)["interventions"] == "coordconv no-pooling"


def test_without_a_test_split_there_is_no_test_score(tmp_path: Path) -> None:
    done = run(on_points(tmp_path, test=False), tmp_path / "run", devices=CPU)
    assert (done.test_loss, done.test_accuracy, done.test_top5) == (None, None, None)


def test_held_out_data_may_be_named(tmp_path: Path) -> None:
    data = points_in(tmp_path)
    done = run(on_points(tmp_path, held_out=data), tmp_path / "run", devices=CPU)
    assert (done.test_loss, done.test_accuracy) == (done.train_loss, done.train_accuracy)


def test_a_split_that_is_asked_for_holds_nothing_out(tmp_path: Path) -> None:
    configuration = on_points(tmp_path)
    done = run(replace(configuration, data=f"{configuration.data}?split=test"), tmp_path / "run", devices=CPU)
    assert done.test_accuracy is None


def endless() -> list[Any]:
    """Batches of one's own."""
    return [(torch.eye(3), torch.arange(3))] * 4


def test_ones_own_batches_have_no_split_and_are_not_tested_on_themselves(tmp_path: Path) -> None:
    configuration = replace(
        on_points(tmp_path), data="tests.lab.test_preparing:endless", recipe=Recipe(steps=3, batch_size=3)
    )
    assert run(configuration, tmp_path / "run", devices=CPU).test_accuracy is None


def on_cifar(folder: Path) -> Configuration:
    return Configuration(model=SMALL + "32", data=f"cifar10:{folder}", recipe=Recipe(epochs=1, batch_size=10))


def test_data_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        run(on_cifar(tmp_path / "absent"), tmp_path / "run", devices=CPU)


@pytest.mark.parametrize("missing", ["data_batch_3", "test_batch"])
def test_data_that_are_half_there_are_named_and_nothing_is_trained(tmp_path: Path, missing: str) -> None:
    write_python(tmp_path, 10, old=False)
    whole = run(on_cifar(tmp_path), tmp_path / "whole", devices=CPU)
    assert whole.test_accuracy is not None
    next(tmp_path.rglob(missing)).unlink()
    with pytest.raises(SourceError, match=r"no split '(train|test)'"):
        run(on_cifar(tmp_path), tmp_path / "run", devices=CPU)
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize("spoilt", ["data_batch_3", "test_batch"])
def test_data_that_are_cut_short_are_named(tmp_path: Path, spoilt: str) -> None:
    write_python(tmp_path, 10, old=False)
    file = next(tmp_path.rglob(spoilt))
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(SourceError, match=spoilt):
        run(on_cifar(tmp_path), tmp_path / "run", devices=CPU)


def test_an_image_that_does_not_decode_is_skipped_and_counted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name, value in (("dark", 30), ("light", 220)):
            place = tmp_path / "images" / split / name
            place.mkdir(parents=True)
            for number in range(6):
                (place / f"{number}.png").write_bytes(encoded(np.full((24, 24, 3), value + number, np.uint8)))
    (tmp_path / "images" / "train" / "dark" / "3.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "images" / "test" / "light" / "0.png").write_bytes(b"")
    data = str(tmp_path / "images")
    configuration = Configuration(model=SMALL + "24", data=data, recipe=Recipe(steps=4, batch_size=8))
    done = run(configuration, tmp_path / "run", devices=CPU)
    said = json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]
    assert (said["train"]["examples"], said["train"]["skipped"]) == (11, 1)
    assert (said["held_out"]["examples"], said["held_out"]["skipped"]) == (11, 1)
    assert done.test_accuracy is not None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model": "weightatlas:simplified?groups=small&width=0.125&input_size=24&classes=3"}, "classes apart"),
        ({"model": "weightatlas:nothing"}, "nothing"),
        ({"interventions": ("no-such-thing",)}, "no-such-thing"),
        ({"data": "scenes?label=sideways"}, "sideways"),
        ({"recipe": Recipe()}, "give --steps or --epochs"),
        ({"recipe": Recipe(epochs=1)}, "give --steps instead of --epochs"),
        ({"augmentation": Augmentation(crop=60)}, "crop"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_trained(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    good = Configuration(model=SMALL + "24", data="scenes?steps=1", recipe=Recipe(steps=1, batch_size=4))
    with pytest.raises(WeightatlasError, match=what):
        run(replace(good, **change), tmp_path, devices=CPU)
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("split", ["test", "val"])
def test_data_whose_only_split_is_to_be_tested_on_are_not_trained_on_unless_it_is_named(
    tmp_path: Path, split: str
) -> None:
    for name, value in (("dark", 30), ("light", 220)):
        place = tmp_path / "images" / split / name
        place.mkdir(parents=True)
        (place / "0.png").write_bytes(encoded(np.full((24, 24, 3), value, np.uint8)))
    recipe = Recipe(steps=1, batch_size=2)
    configuration = Configuration(model=SMALL + "24", data=str(tmp_path / "images"), recipe=recipe)
    with pytest.raises(SourceError, match=rf"its only split is '{split}', .*\?split={split}"):
        run(configuration, tmp_path / "run", devices=CPU)
    named = replace(configuration, data=f"{configuration.data}?split={split}")
    assert run(named, tmp_path / "run", devices=CPU).test_accuracy is None


def gray() -> torch.nn.Module:
    """A network for images of one channel."""
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.LazyLinear(3))


def unlearning() -> torch.nn.Module:
    """A network without parameters."""
    return torch.nn.Flatten()


@pytest.mark.parametrize(
    ("model", "arrays", "said"),
    [
        (
            "gray",
            {"inputs": np.zeros((4, 3, 8, 8)), "targets": [0, 1, 2, 0]},
            r"gray: it cannot take inputs of \(3, 8, 8\)",
        ),
        ("unlearning", {"inputs": np.zeros((4, 3)), "targets": [0, 1, 2, 0]}, "unlearning: it has no parameters"),
        (
            "gray",
            {"inputs": np.zeros((4, 1, 8, 8)), "targets": [0.5, 1, 2, 0]},
            r"npz: its targets are float32 and no c",
        ),
    ],
)
def test_a_network_and_data_that_do_not_fit_are_one_line(
    tmp_path: Path, model: str, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "some.npz", allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    configuration = Configuration(
        model=f"{__name__}:{model}", data=str(tmp_path / "some.npz"), recipe=Recipe(steps=1, batch_size=2)
    )
    with pytest.raises(SourceError, match=said):
        run(configuration, tmp_path / "run", devices=CPU)
    assert not (tmp_path / "run" / "manifest.json").exists()
