from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr

from weightatlas.lab import Configuration, Recipe, Run, run
from weightatlas.lab.experiments.change_measures import ANALYSIS, MEASURES, measure_change, recruitment, typical_change
from weightatlas.lab.experiments.change_paper import TABLE_2

if TYPE_CHECKING:
    from pathlib import Path

RATIOS: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
    "ratio_l1": lambda distance, size: float(distance.sum() / size.sum()),
    "elementwise": lambda distance, size: float((distance / size)[size > 0].mean()),
}
MODEL = "weightatlas:resnet18-cifar?width=0.0625&classes=4"


def small_run(folder: Path, steps: int = 6, every: int = 1) -> Run:
    recipe = Recipe(steps=steps, batch_size=4, optimizer="adam", learning_rate=1e-3, schedule="constant", warmup=0.0)
    data = "scenes?size=12"
    return run(
        Configuration(model=MODEL, data=data, held_out=f"{data}&split=test&steps=1", recipe=recipe, every=every), folder
    )


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters are tried less often than in an experiment: that takes seconds a run."""
    pipeline = replace(ANALYSIS.pipeline, nulls=2, inits=3, resamples=2)
    monkeypatch.setattr("weightatlas.lab.experiments.change_measures.ANALYSIS", replace(ANALYSIS, pipeline=pipeline))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def done(trained: Run, tmp_path: Path) -> Run:
    """A run that a test may spoil."""
    shutil.copytree(trained.folder, tmp_path / "run")
    return replace(trained, folder=tmp_path / "run")


def test_the_figures_are_those_of_the_checkpoints(done: Run, tmp_path: Path) -> None:
    found = measure_change(done)
    states = [load_file(tmp_path / "run" / "checkpoints" / f"step-{step:08d}.safetensors") for step in range(7)]
    names = [f"{name}.weight" for name in found.arrays["change/layers"].tolist()]
    assert names[0] == "conv1.weight"
    assert names[-1] == "fc.weight"
    assert set(names) == {name for name, value in states[0].items() if value.ndim > 1}
    moved = [[(new[name] - old[name]).abs().double() for old, new in pairwise(states)] for name in names]
    sizes = [[state[name].abs().double() for state in states[:-1]] for name in names]
    for key, ratio in RATIOS.items():
        expected = [[ratio(*pair) for pair in zip(*line, strict=True)] for line in zip(moved, sizes, strict=True)]
        np.testing.assert_allclose(found.arrays[f"change/{key}"], expected, rtol=1e-5)
        typical = np.median(np.log(expected), axis=1)[1:-1]
        part = len(typical) // 3
        end = "" if key == "ratio_l1" else "_elementwise"
        assert found.figures[f"recruitment{end}"] == pytest.approx(
            typical[-part:].mean() - typical[:part].mean(), rel=1e-4
        )
        weights = [states[0][name].numel() for name in names[1:-1]]
        assert found.figures[f"size{end}"] == pytest.approx(spearmanr(typical, weights).statistic, abs=1e-9)
        assert found.figures[f"depth{end}"] == pytest.approx(spearmanr(typical, np.arange(19)).statistic, abs=1e-9)
        if not end:
            smallness = [-float(size[0].mean()) for size in sizes[1:-1]]
            assert found.figures["scale"] == pytest.approx(spearmanr(typical, smallness).statistic, abs=1e-9)
            far = [[float(distance.mean()) for distance in line] for line in moved]
            undivided = np.median(np.log(far), axis=1)[1:-1]
            first = -np.log([float(size[0].mean()) for size in sizes[1:-1]])
            for measure, values in (("recruitment_undivided", undivided), ("recruitment_start", first)):
                expected_value = values[-part:].mean() - values[:part].mean()
                assert found.figures[measure] == pytest.approx(expected_value, rel=1e-4)
            np.testing.assert_allclose(found.arrays["change/first"], [float(size[0].mean()) for size in sizes])
    assert (found.figures["layers"], found.figures["records"], found.figures["stopped"]) == (19, 6, 0)
    assert found.figures["train_top5"] == 1
    assert 0 <= float(found.figures["reached"] or 0) <= 1
    assert float(found.figures["stability"] or 0) <= 1
    assert set(found.figures) <= {measure.key for measure in MEASURES}
    json.dumps(dict(found.figures))


def test_a_planted_change_of_the_last_layers_is_recruitment(done: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    start = load_file(folder / "step-00000000.safetensors")
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 7):
        planted = {
            name: value
            if value.ndim < 2
            else value
            * (
                1
                + 0.01
                * (3 if name.startswith("layer4") else 1)
                * step
                * (1 + 0.1 * torch.rand((), generator=generator))
            )
            for name, value in start.items()
        }
        save_file(planted, folder / f"step-{step:08d}.safetensors")
    figures = measure_change(done).figures
    for key in ("recruitment", "recruitment_elementwise"):
        assert float(figures[key] or 0) > 0.5
    assert float(figures["depth"] or 0) > 0.3


def test_weights_that_move_as_far_have_the_recruitment_of_their_first_size(done: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    start = load_file(folder / "step-00000000.safetensors")
    for step in range(1, 7):
        moved = {name: value if value.ndim < 2 else value + 1e-6 * step * value.sign() for name, value in start.items()}
        save_file(moved, folder / f"step-{step:08d}.safetensors")
    figures = measure_change(done).figures
    assert float(figures["recruitment_start"] or 0) > 0.5
    assert figures["recruitment_undivided"] == pytest.approx(0, abs=0.01)
    assert figures["recruitment"] == pytest.approx(figures["recruitment_start"], abs=0.01)
    assert float(figures["scale"] or 0) > 0.99


def test_without_its_first_weights_a_run_says_nothing_of_their_size(done: Run, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints" / "step-00000000.safetensors").unlink()
    found = measure_change(done)
    assert isinstance(found.figures["recruitment"], float)
    assert {"scale", "recruitment_undivided", "recruitment_start"}.isdisjoint(found.figures)


def test_a_layer_that_does_not_move_has_stopped_and_is_left_out_of_the_means(done: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    frozen = load_file(folder / "step-00000000.safetensors")["layer2.0.conv1.weight"]
    for step in range(1, 7):
        state = load_file(folder / f"step-{step:08d}.safetensors")
        save_file(state | {"layer2.0.conv1.weight": frozen}, folder / f"step-{step:08d}.safetensors")
    found = measure_change(done)
    assert found.figures["stopped"] == 1
    assert math.isfinite(float(found.figures["recruitment"] or math.nan))


def test_a_run_of_one_change_has_what_one_change_tells(tmp_path: Path) -> None:
    figures = measure_change(small_run(tmp_path / "run", steps=2, every=2)).figures
    assert figures["records"] == 1
    assert isinstance(figures["recruitment"], float)
    assert figures.get("stopped") is None
    assert "stability" not in figures


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=40), st.floats(-3, 3))
def test_recruitment_ignores_a_common_factor_and_turns_with_the_network(values: list[float], factor: float) -> None:
    found = recruitment(values)
    assert recruitment([value + factor for value in values]) == pytest.approx(found, abs=1e-9)
    assert recruitment(values[::-1]) == pytest.approx(-found, abs=1e-9)


def test_recruitment_of_layers_without_a_change_is_that_of_the_others() -> None:
    assert recruitment([math.nan, 0.0, 1.0, -math.inf, 2.0]) == 2.0
    assert math.isnan(recruitment([1.0, 2.0]))
    assert math.isnan(recruitment([]))


def test_infinite_and_missing_changes_are_left_out_of_the_median() -> None:
    curves = np.array([[1.0, np.inf, np.nan, math.e**2, 0.0], [np.nan] * 5])
    assert typical_change(curves).tolist() == pytest.approx([1.0, math.nan], nan_ok=True)


def test_the_paper_s_table_is_whole() -> None:
    assert len(TABLE_2) == 6
    assert all(len(row) == 4 and all(0.6 < value < 1 for value in row) for row in TABLE_2.values())
