from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from tests.data.pictures import encoded
from tests.data.test_cifar import write_python
from tests.lab.small_runs import CPU, equal, perceptron
from weightatlas.data import Augmentation
from weightatlas.errors import SourceError, WeightatlasError
from weightatlas.evaluation import open_model
from weightatlas.lab import Configuration, Recipe, RunFolder, run
from weightatlas.lab.configuration import configuration_from
from weightatlas.lab.running import row_of

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "weightatlas:simplified?groups=small&width=0.125&classes=10&input_size="


def points_in(folder: Path, *, test: bool = True) -> str:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for prefix in ("", "test_") if test else ("",):
        targets = np.arange(90) % 3
        arrays[f"{prefix}targets"] = targets
        arrays[f"{prefix}inputs"] = (np.eye(3)[targets] * 3 + generator.normal(size=(90, 3))).astype(np.float32)
    np.savez(folder / "points.npz", **arrays)
    return str(folder / "points.npz")


def on_points(folder: Path, *, test: bool = True, **more: Any) -> Configuration:  # noqa: ANN401 - handed on
    settings = {"recipe": Recipe(epochs=2, batch_size=16, learning_rate=0.03)} | more
    return Configuration(model="tests.lab.small_runs:perceptron", data=points_in(folder, test=test), **settings)


def test_a_run_ends_with_its_scores_which_are_those_of_its_last_weights(tmp_path: Path) -> None:
    done = run(
        on_points(tmp_path, recipe=Recipe(steps=60, batch_size=16, learning_rate=0.03)), tmp_path / "run", devices=CPU
    )
    model = perceptron()
    model.load_state_dict(load_file(done.checkpoint))
    with np.load(tmp_path / "points.npz") as arrays:
        for prefix, loss, accuracy in (
            ("", done.train_loss, done.train_accuracy),
            ("test_", done.test_loss, done.test_accuracy),
        ):
            logits = model(torch.from_numpy(arrays[f"{prefix}inputs"]))
            targets = torch.from_numpy(arrays[f"{prefix}targets"])
            assert loss == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-5)
            assert accuracy == pytest.approx(float((logits.argmax(1) == targets).float().mean()))
    assert done.test_accuracy is not None
    assert done.test_accuracy > 0.6
    assert (done.steps, done.test_top5, done.parameters, done.reused) == (60, 1.0, 59, False)


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


def test_a_run_that_has_ended_is_read_back_and_not_trained(tmp_path: Path) -> None:
    configuration = on_points(tmp_path)
    first = run(configuration, tmp_path / "run", devices=CPU)
    logged: list[Any] = []
    again = run(configuration, tmp_path / "run", devices=CPU, loggers=(lambda row, _step: logged.append(row),))
    assert again == replace(first, reused=True)
    assert logged == []


def test_the_same_configuration_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    configuration = on_points(tmp_path)
    weights = [
        load_file(run(replace(configuration, seed=seed), tmp_path / name, devices=CPU).checkpoint)
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["0.weight"], weights[2]["0.weight"])


def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    first = run(on_points(tmp_path), tmp_path / "run", devices=CPU)
    before = first.checkpoint.read_bytes()
    with pytest.raises(SourceError, match=r"it holds another run \(its configuration differ\)"):
        run(on_points(tmp_path, seed=1), tmp_path / "run", devices=CPU)
    with np.load(tmp_path / "points.npz") as arrays:
        changed = dict(arrays) | {"inputs": arrays["inputs"] + 1}
    np.savez(tmp_path / "points.npz", **changed)
    with pytest.raises(SourceError, match=r"its data differ"):
        run(replace(first.configuration), tmp_path / "run", devices=CPU)
    assert first.checkpoint.read_bytes() == before


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
        on_points(tmp_path), data="tests.lab.test_running:endless", recipe=Recipe(steps=3, batch_size=3)
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


def test_threads_are_as_the_recipe_says_while_it_runs(tmp_path: Path) -> None:
    seen: list[int] = []
    before = torch.get_num_threads()
    recipe = Recipe(steps=1, batch_size=4, threads=before + 1)
    run(
        on_points(tmp_path, recipe=recipe),
        tmp_path / "run",
        devices=CPU,
        loggers=(lambda *_: seen.append(torch.get_num_threads()),),
    )
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_rotation_by_a_quarter_is_seen_in_training_and_in_evaluation_alike(tmp_path: Path) -> None:
    upright = Configuration(
        model=SMALL + "24",
        data="scenes?steps=2",
        recipe=Recipe(steps=8, batch_size=16),
    )
    turned = replace(upright, augmentation=Augmentation(rotate="90"))
    one, other = (run(each, tmp_path / name, devices=CPU) for each, name in ((upright, "up"), (turned, "turned")))
    assert one.test_loss != other.test_loss
    assert one.train_loss != other.train_loss


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
