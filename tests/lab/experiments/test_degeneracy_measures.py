"""A real run, on a scale of seconds: every figure is there, and known answers where theory has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.lab import Devices, run
from weightatlas.lab.experiments import degeneracy_measures
from weightatlas.lab.experiments.catalogue import open_experiment
from weightatlas.lab.experiments.degeneracy_measures import MEASURES, course_steps, measure
from weightatlas.lab.experiments.degeneracy_variants import Network

if TYPE_CHECKING:
    from weightatlas.lab import Run
    from weightatlas.lab.experiments.experiment import Measurement

CPU = Devices(accelerator="cpu")
HIDDEN = 4
SMALL = Network(("hidden1", "hidden2", "classifier", "classifier:output"), counted=120, structured=120, course=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A modular network of two tasks, four hidden units each layer, after 12 updates."""
    variant = open_experiment("degeneracy", variants=["modular"], steps=12).variant("modular")
    model = variant.configuration.model.replace("hidden=16", f"hidden={HIDDEN}")
    configuration = replace(variant.configuration, model=model, stop=None)
    return run(configuration, tmp_path_factory.mktemp("modular"), devices=CPU)


@pytest.fixture(scope="module")
def found(done: Run) -> Measurement:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(degeneracy_measures, "network_of", lambda _: SMALL)
        patch.setattr(degeneracy_measures, "BURN_IN", 20)
        patch.setattr(degeneracy_measures, "NULLS", 5)
        return measure(done)


def test_every_measure_of_a_perceptron_is_there(found: Measurement) -> None:
    none_of_a_perceptron = {"heads", "linear", "norms"}
    absent = {item.key for item in MEASURES} - {key for key, value in found.figures.items() if value is not None}
    assert absent <= none_of_a_perceptron | {"bracket_low", "bracket_high"}
    assert found.figures["missing"] == ""


def test_counts_fit_together(found: Measurement) -> None:
    figures: dict[str, float] = dict(found.figures)  # type: ignore[arg-type]
    parameters = 128 * HIDDEN + HIDDEN + HIDDEN * HIDDEN + HIDDEN + 20 * HIDDEN + 20
    assert figures["rank"] + figures["nullity"] == parameters
    assert figures["union"] + figures["gap"] == figures["nullity"]
    assert figures["rank_limit"] == SMALL.counted * 20
    assert figures["free_share"] == figures["nullity"] / parameters
    assert figures["rescalings"] == 2 * HIDDEN
    assert figures["union"] >= max(figures[key] for key in ("activations", "gradients", "synchronised"))
    blank = 2 * 3  # pixels that are never inked, of each digit: at least the corners of the first column
    assert figures["activations"] >= blank * HIDDEN


@pytest.mark.parametrize(
    "error",
    [
        SourceError("it", "is odd", "mend it"),
        NotFiniteError("NaN reaches it"),
        np.linalg.LinAlgError("no SVD"),
        torch.linalg.LinAlgError("no SVD"),  # type: ignore[attr-defined]
    ],
)
def test_what_cannot_be_counted_is_said_and_the_rest_is_there(
    error: Exception, done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(degeneracy_measures, "network_of", lambda _: replace(SMALL, course=1))
    monkeypatch.setattr(degeneracy_measures, "BURN_IN", 2)
    for name in ("_directions", "_structure"):
        monkeypatch.setattr(degeneracy_measures, name, fails)
    figures = measure(done).figures
    said = str(figures["missing"])
    assert said.count(getattr(error, "problem", str(error))) == 2
    assert said.startswith("directions: ")
    assert "; structure: " in said
    assert figures["llc"] is not None


def test_the_zeros_between_tasks_are_parameters(found: Measurement) -> None:
    layers = dict(zip(found.arrays["layers/name"].tolist(), found.arrays["layers/parameters"].tolist(), strict=True))
    assert layers == {"hidden1": 129 * HIDDEN, "hidden2": (HIDDEN + 1) * HIDDEN, "classifier": 20 * (HIDDEN + 1)}


def test_free_directions_are_free_however_far_one_goes(found: Measurement) -> None:
    assert found.figures["followed"] < 1e-9  # type: ignore[operator]
    assert found.figures["followed_random"] > 0.1  # type: ignore[operator]
    assert found.figures["followed_order"] < -9  # type: ignore[operator]


def test_edges_are_those_between_neighbouring_points(found: Measurement) -> None:
    assert found.arrays["edges/source"].tolist() == list(SMALL.points[:-1])
    assert found.arrays["edges/target"].tolist() == list(SMALL.points[1:])
    for kind in ("interaction", "pca"):
        assert found.figures["edges" if kind == "interaction" else "edges_pca"] == found.arrays[f"edges/{kind}"].sum()
    assert (found.arrays["edges/interaction"] <= found.arrays["edges/all"]).all()


def test_the_course_ends_with_the_run(found: Measurement, done: Run) -> None:
    steps = found.arrays["course/step"]
    assert steps.tolist() == [2, done.steps]
    assert found.arrays["course/llc"][-1] == found.figures["llc"]
    assert np.isfinite(found.arrays["course/test_accuracy"]).all()
    assert found.arrays["course/loss"][0] > found.arrays["course/loss"][1]


def test_what_cannot_be_measured_is_left_out_and_said(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        source = "data"
        raise SourceError(source, "it has no cut", "name another point")

    monkeypatch.setattr(degeneracy_measures, "network_of", lambda _: replace(SMALL, course=1))
    monkeypatch.setattr(degeneracy_measures, "BURN_IN", 5)
    monkeypatch.setattr(degeneracy_measures, "_directions", fails)
    monkeypatch.setattr(degeneracy_measures, "_structure", fails)
    found = measure(done)
    assert found.figures["missing"] == "directions: it has no cut; structure: it has no cut"
    assert "union" not in found.figures
    assert found.figures["llc"] is not None


@pytest.mark.parametrize(
    ("steps", "most", "chosen"),
    [((0, 1, 2), 3, (0, 1, 2)), ((0, 1, 2, 3), 1, (3,)), (tuple(range(10)), 4, (2, 4, 7, 9)), ((), 3, ())],
)
def test_checkpoints_are_spread_and_end_with_the_last(
    steps: tuple[int, ...], most: int, chosen: tuple[int, ...]
) -> None:
    assert course_steps(steps, most) == chosen
