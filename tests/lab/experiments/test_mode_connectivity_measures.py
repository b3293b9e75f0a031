"""A pair of real runs, on a scale of seconds: known answers where both networks compute the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from weightatlas import open_checkpoint
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.evaluation import open_model
from weightatlas.lab import Devices, run
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.mode_connectivity_measures import (
    MEASURES,
    WAYS,
    key_of,
    measure_alone,
    measure_together,
)

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments import Experiment

STEPS = 12
CPU = Devices(accelerator="cpu")


def short(*variants: str) -> Experiment:
    return open_experiment("mode-connectivity", variants=variants, seeds=(1,), steps=STEPS, batch_size=16, limit=64)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = short("w0.5")
    return run(replace(made.variants[0].configuration, seed=1), tmp_path_factory.mktemp("trunk"), devices=CPU)


def test_a_pair_of_a_network_with_itself_has_no_barrier(trunk: Run) -> None:
    found = measure_together(trunk, trunk)
    figures = dict(found.figures)
    for matched, recalibrated in WAYS:
        for what in ("barrier", "error_barrier"):
            height = figures[key_of(what, matched=matched, recalibrated=recalibrated)]
            assert height == pytest.approx(0, abs=1e-5)
    assert figures["similarity"] == pytest.approx(1)
    assert figures["similarity_matched"] == pytest.approx(1)
    assert figures["distance"] == pytest.approx(0, abs=1e-6)
    assert figures["layer_largest"] == pytest.approx(0, abs=1e-5)
    assert figures["similarity_null"] < 0.9  # type: ignore[operator]


def test_matching_undoes_units_that_changed_places(trunk: Run, tmp_path: Path) -> None:
    model = open_model(trunk.configuration.model)
    found = symmetries(model, torch.zeros(2, 3, 24, 24))
    state = dict(open_checkpoint(trunk.checkpoint))
    mixed = found.permute(state, found.random(5))
    save_file({name: tensor.contiguous() for name, tensor in mixed.items()}, tmp_path / "mixed.safetensors")
    other = replace(trunk, checkpoint=tmp_path / "mixed.safetensors")
    figures = measure_together(trunk, other).figures
    assert figures["similarity_matched"] == pytest.approx(1)
    assert figures["barrier_matched"] == pytest.approx(0, abs=1e-5)
    assert figures["barrier"] > 1e-3  # type: ignore[operator]  # twelve updates leave little to lose
    assert figures["similarity"] < 0.9  # type: ignore[operator]
    gain = figures["barrier_recalibrated"] - figures["barrier_matched_recalibrated"]  # type: ignore[operator]
    assert figures["matching_gain"] == gain


def test_every_measure_of_a_fork_is_there_and_of_an_independent_network_all_but_what_needs_a_fork(
    tmp_path: Path,
) -> None:
    made = short("w0.5.fork.1-4")
    result = run_experiment(made, tmp_path, jobs=1)
    keys = {measure.key for measure in MEASURES}
    trunk, twin, fork = result.runs
    assert [done.skipped for done in result.runs] == [None] * 3
    assert trunk.measurement is not None
    assert twin.measurement is not None
    assert fork.measurement is not None
    assert dict(trunk.measurement.figures) == {}
    assert keys - twin.measurement.figures.keys() == {"angle", "travelled"}
    assert keys - fork.measurement.figures.keys() == {key for key in keys if key.startswith("layer_")}
    assert 0 < fork.measurement.figures["angle"] < 180  # type: ignore[operator]
    assert fork.measurement.figures["distance"] < twin.measurement.figures["distance"]  # type: ignore[operator]
    names = open_model(made.variants[1].configuration.model).state_dict()
    layers = twin.measurement.arrays["layers/name"].tolist()
    assert layers[0] == "conv1"
    assert layers[-1] == "fc"
    assert all(any(name.startswith(f"{layer}.") for name in names) for layer in layers)


def test_networks_without_batch_statistics_have_nothing_to_recalibrate(trunk: Run, tmp_path: Path) -> None:
    model = f"{trunk.configuration.model}&convert=in"
    runs = [
        run(replace(trunk.configuration, model=model, seed=seed), tmp_path / str(seed), devices=CPU) for seed in (1, 2)
    ]
    figures = measure_together(*runs).figures
    assert figures["barrier_recalibrated"] == figures["barrier"]
    assert figures["recalibration_gain"] == 0


def test_a_run_alone_has_no_figures_of_its_own(trunk: Run) -> None:
    assert dict(measure_alone(trunk).figures) == {}
