from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from tests.lab.small_runs import CPU, on_points, perceptron
from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab import Configuration, Recipe, run

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "weightatlas:simplified?groups=small&width=0.125&classes=10&input_size="


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
    assert (done.steps, done.test_top5, done.train_top5, done.parameters) == (60, 1.0, 1.0, 59)
    assert not done.reused


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
