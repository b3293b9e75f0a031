from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.conditioning.singularities import Singularities, singularities
from weightatlas.conditioning.smoothness import smoothness
from weightatlas.lab import Configuration, Recipe, Run
from weightatlas.lab.experiments.micro_batch_course import (
    COURSE,
    channel_figures,
    course_arrays,
    kept,
    log10,
    mean_of_finite,
    over_the_run,
)
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

CONFIGURATION = Configuration(
    model="weightatlas:resnet8-cifar?classes=4", data="scenes", recipe=Recipe(steps=6, batch_size=8), every=2
)


def a_run(folder: Path, *, checkpoints: tuple[int, ...], rows: list[dict[str, Any]]) -> Run:
    """A finished run, with the files that its course is read from."""
    done = replace(made_up_run(CONFIGURATION, folder), configuration=CONFIGURATION)
    files = RunFolder(folder)
    (folder / "metrics.jsonl").unlink()
    files.log(rows)
    for step in checkpoints:
        files.checkpoint(step).parent.mkdir(exist_ok=True)
        files.checkpoint(step).touch()
    return done


class Zeros(nn.Module):
    """Forgets what came before."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(values)


def behind_norms(*shifts: float) -> Singularities:
    """Channels behind a norm for each shift, which gives that number whatever it is given."""
    layers: list[nn.Module] = []
    for shift in shifts:
        norm = nn.BatchNorm2d(4, eps=0.0)
        norm.running_mean = torch.full((4,), -shift)
        layers += [Zeros(), norm, nn.ReLU()]
    network = nn.Sequential(*layers).eval()
    return singularities(network, [torch.zeros(4, 4, 2, 2)], resamples=0)


def bare_convolutions() -> Singularities:
    """Sixteen channels without a norm, one of them never positive."""
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 12, 1), nn.ReLU())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(float(name.endswith("bias")))
        network.get_parameter("0.bias")[0] = -1.0
    return singularities(network, [torch.zeros(2, 1, 3, 3)], resamples=0)


def test_the_checkpoints_of_a_run_are_those_that_are_there_in_order(tmp_path: Path) -> None:
    assert kept(a_run(tmp_path, checkpoints=(6, 2, 0), rows=[])) == (0, 2, 6)


def test_each_entry_has_the_loss_since_the_checkpoint_before_and_the_accuracy_there(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": float(step)} for step in (1, 2, 3, 5, 6)] + [{"step": 6, "test_accuracy": 0.75}]
    done = a_run(tmp_path, checkpoints=(0, 2, 6), rows=rows)
    arrays = course_arrays(done, (0, 2, 6), [behind_norms(shift) for shift in (0.0, 1.0, 2.0)], {})
    assert set(arrays) == {f"course/{key}" for key in COURSE}
    assert {len(values) for values in arrays.values()} == {3}
    assert arrays["course/images"].tolist() == [0, 16, 48]
    np.testing.assert_array_equal(arrays["course/train_loss"], [math.nan, 1.5, 14 / 3])
    np.testing.assert_array_equal(arrays["course/accuracy"], [math.nan, math.nan, 0.75])
    np.testing.assert_allclose(arrays["course/mean_distance"], [0, 1, 2], atol=1e-7)
    assert np.isnan(arrays["course/loss_lipschitz"]).all(), "nothing was walked on"


def test_a_walk_has_the_logarithm_of_its_relative_constants(tmp_path: Path) -> None:
    done = a_run(tmp_path, checkpoints=(0, 6), rows=[])
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    walked = smoothness(network, [(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))], draws=0, eigenvalues=0)
    assert walked.relative_loss_lipschitz is not None
    arrays = course_arrays(done, (0, 6), [bare_convolutions()] * 2, {6: walked, 0: None})
    found = arrays["course/loss_lipschitz"]
    assert np.isnan(found[0])
    assert 10 ** found[1] == pytest.approx(walked.relative_loss_lipschitz)


def test_channels_of_all_layers_count_alike() -> None:
    found = channel_figures(bare_convolutions())
    assert found["dead"] == found["near_dead"] == pytest.approx(1 / 16)
    assert found["least_positive"] == 0
    assert np.isnan(found["mean_distance"]), "no norm"


def test_distances_are_root_mean_squares_over_the_channels_of_all_layers() -> None:
    found = channel_figures(behind_norms(3.0, 4.0))
    assert found["mean_distance"] == pytest.approx((9 / 2 + 16 / 2) ** 0.5, abs=1e-6)
    assert found["std_distance"] == pytest.approx(1), "inputs that never vary have a deviation of 0"


def test_figures_of_a_run_are_the_last_ones_and_distances_also_averaged_after_the_first_weights() -> None:
    channels = [behind_norms(shift) for shift in (9.0, 1.0, 3.0)]
    found = over_the_run(channels)
    assert found["mean_distance"] == pytest.approx(3)
    assert found["mean_distance_mean"] == pytest.approx(2), "the first weights are not the run's"
    assert over_the_run(channels[:1])["mean_distance_mean"] == pytest.approx(9)
    assert {key: found[key] for key in channel_figures(channels[-1])} == channel_figures(channels[-1])


@pytest.mark.parametrize("value", [None, 0.0, -1.0, float("inf"), float("nan")])
def test_what_has_no_logarithm_is_nan(value: float | None) -> None:
    assert np.isnan(log10(value))
    assert log10(100.0) == 2


def test_a_mean_leaves_out_what_is_not_finite() -> None:
    assert mean_of_finite([1.0, math.nan, 3.0, math.inf]) == 2
    assert math.isnan(mean_of_finite([math.nan]))
