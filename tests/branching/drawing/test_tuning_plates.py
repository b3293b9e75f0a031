from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from torch import nn

from weightatlas.branching.measured import measured_tuning
from weightatlas.branching.tuning import tuning
from weightatlas.plate import Chart

if TYPE_CHECKING:
    from weightatlas.result import Result


def two_groups() -> np.ndarray:
    """Twenty kernels in grey, twenty in one colour."""
    pattern = np.random.default_rng(0).normal(size=(40, 1, 5, 5))
    directions = np.repeat([[1.0, 1.02, 0.98], [1.0, -1.0, 0.0]], 20, axis=0)
    kernels: np.ndarray = pattern * directions[:, :, None, None]
    return kernels


def only_chart(result: Result) -> Chart:
    (plate,) = result.plates()
    assert isinstance(plate, Chart)
    return plate


def test_the_title_says_whether_colour_is_a_group_apart() -> None:
    apart = only_chart(tuning(two_groups()))
    assert apart.heading.title == "20 of 40 units see colour, a group apart"
    shares = np.linspace(0.001, 0.999, 60)
    grey, colour = np.ones(3) / np.sqrt(3), np.array([1, -1, 0]) / np.sqrt(2)
    directions = np.sqrt(1 - shares)[:, None] * grey + np.sqrt(shares)[:, None] * colour
    pattern = np.random.default_rng(0).normal(size=(60, 1, 5, 5))
    along = only_chart(tuning(pattern * directions[:, :, None, None]))
    assert along.heading.title == "48 of 60 units see colour, along a continuum"
    assert "continuum" in along.heading.null


def test_the_chart_has_a_dot_for_every_unit_that_is_measured() -> None:
    kernels = two_groups()
    kernels[3] = 0.0
    found = tuning(kernels)
    plate = only_chart(found)
    assert len(plate.rows) == 40
    dots = plate.spec["datasets"][plate.spec["layer"][1]["data"]["name"]]
    assert len(dots) == 39
    assert {row["class"] for row in dots} <= set(found.classes)


@pytest.mark.parametrize("shape", [(3, 3, 1, 1), (1, 1, 3, 3)])
def test_small_layers_have_a_plate_too(shape: tuple[int, ...]) -> None:
    plate = only_chart(tuning(np.random.default_rng(0).normal(size=shape)))
    assert "see colour" in plate.heading.title
    assert plate.heading.null


def test_labels_are_counted_by_layer() -> None:
    found = measured_tuning(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), ["0", "1"], size=16)
    plate = only_chart(found)
    counts = [row["units"] for row in plate.spec["datasets"][plate.spec["data"]["name"]]]
    assert sum(counts) == 4
    assert plate.rows[-1]["skipped"] == "it is a Flatten, no two-dimensional convolution"
