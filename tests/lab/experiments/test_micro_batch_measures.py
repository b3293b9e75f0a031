from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from torch import nn

from weightatlas.conditioning.singularities import singularities
from weightatlas.evaluation import evaluate, load_checkpoint, open_data, open_model
from weightatlas.evaluation.overlap import mean_overlap
from weightatlas.lab import Configuration, Recipe, Run, RunFolder, run
from weightatlas.lab.devices import Devices
from weightatlas.lab.experiments.micro_batch_course import COURSE, channel_figures, kept
from weightatlas.lab.experiments.micro_batch_measures import MEASURES, WALKS, measure_micro_batch, measure_score

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Configuration(
    model="weightatlas:resnet8-cifar?width=0.25&classes=4&convert=ws+gn",
    data="scenes?size=12",
    held_out="scenes?size=12&split=test&limit=64",
    recipe=Recipe(steps=6, batch_size=8, optimizer="sgd", learning_rate=0.05, schedule="cosine"),
    every=2,
)
MASKS = replace(
    SMALL,
    model="weightatlas:segmenter?width=0.125&convert=ws+bcn",
    data="scenes?size=12&label=mask",
    held_out="scenes?size=12&label=mask&split=test&limit=64",
)
CPU = Devices(accelerator="cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(SMALL, tmp_path_factory.mktemp("small"), devices=CPU)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(MASKS, tmp_path_factory.mktemp("masks"), devices=CPU)


def trained(done: Run) -> nn.Module:
    model = open_model(done.configuration.model, seed=done.configuration.seed)
    load_checkpoint(model, done.checkpoint)
    return model


def test_every_figure_is_one_of_the_measures_and_the_first_ones_are_there(small: Run) -> None:
    found = measure_micro_batch(small)
    assert set(found.figures) <= {measure.key for measure in MEASURES}
    primary = [measure.key for measure in MEASURES if measure.compared]
    assert all(np.isfinite(float(found.figures[key] or np.nan)) or found.figures[key] == 0 for key in primary)
    assert found.figures["images"] == 48
    assert 0 < float(found.figures["centring"] or 0) < 1


def test_the_score_is_held_out_accuracy_and_of_masks_mean_overlap(small: Run, masks: Run) -> None:
    accuracy = evaluate(trained(small), open_data(SMALL.held_out or "", seed=SMALL.seed)).accuracy
    assert measure_score(small).figures["score"] == pytest.approx(accuracy)
    overlap = mean_overlap(trained(masks), open_data(MASKS.held_out or "", seed=MASKS.seed))
    found = measure_score(masks)
    assert found.figures["score"] == pytest.approx(overlap.mean)
    np.testing.assert_allclose(found.arrays["overlap/per_class"], overlap.per_class)
    assert measure_micro_batch(masks).figures["score"] == found.figures["score"]


def test_the_course_has_an_entry_a_kept_checkpoint(small: Run) -> None:
    arrays = measure_micro_batch(small).arrays
    assert kept(small) == (0, 2, 4, 6)
    assert arrays["course/step"].tolist() == [0, 2, 4, 6]
    assert arrays["course/images"].tolist() == [0, 16, 32, 48]
    assert {len(arrays[f"course/{key}"]) for key in COURSE} == {4}
    walked = np.isfinite(arrays["course/gradient_lipschitz"])
    assert walked.tolist() == [False, *[True] * WALKS]
    assert np.isnan(arrays["course/train_loss"][0])
    losses = [row["loss"] for row in RunFolder(small.folder).rows() if "loss" in row]
    assert arrays["course/train_loss"][1:].tolist() == pytest.approx(np.array(losses).reshape(3, 2).mean(axis=1))


def test_the_last_entry_is_that_of_the_finished_network(small: Run) -> None:
    arrays, figures = (getattr(measure_micro_batch(small), name) for name in ("arrays", "figures"))
    expected = channel_figures(
        singularities(trained(small), open_data(SMALL.held_out or "", seed=SMALL.seed), examples=128, resamples=0)
    )
    for key, value in expected.items():
        assert figures[key] == pytest.approx(value)
    assert arrays["course/mean_distance"][-1] == pytest.approx(expected["mean_distance"])
    assert np.sqrt(np.mean(arrays["channels/mean"] ** 2)) == pytest.approx(expected["mean_distance"])


def test_measuring_again_gives_the_same(small: Run) -> None:
    first, second = measure_micro_batch(small), measure_micro_batch(small)
    assert first.figures == second.figures


def test_a_run_that_kept_its_last_weights_only_is_measured_there(tmp_path: Path) -> None:
    done = run(replace(SMALL, every=None), tmp_path / "run", devices=CPU)
    found = measure_micro_batch(done)
    assert found.arrays["course/step"].tolist() == [6]
    assert found.figures["mean_distance_mean"] == found.figures["mean_distance"]
