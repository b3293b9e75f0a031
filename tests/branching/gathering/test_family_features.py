from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.branching.gathering.family_features import common_kernels, expanded_rows, tuning_features
from weightatlas.branching.tuning import tuning


def test_kernels_are_cut_about_their_centres() -> None:
    small, large = np.zeros((1, 3, 3, 3)), np.zeros((2, 3, 7, 5))
    small[0, 0, 1, 1], large[1, 2, 3, 2] = 1.0, 1.0
    cut = common_kernels([torch.from_numpy(small).bfloat16(), large])
    assert cut.shape == (3, 3, 3, 3)
    assert [tuple(each) for each in np.argwhere(cut)] == [(0, 0, 1, 1), (2, 2, 1, 1)]


def test_kernels_of_one_size_stay_as_they_are() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 4, 4))
    np.testing.assert_array_equal(common_kernels([weight[:1], weight[1:]]), weight)


@pytest.mark.parametrize("weights", [[], [np.zeros((2, 3))], [np.zeros((2, 3, 3, 3)), np.zeros((2, 1, 3, 3))]])
def test_kernels_of_other_forms_are_refused(weights: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="of equal channels"):
        common_kernels(weights)


def test_orientations_that_are_close_have_features_that_are_close() -> None:
    x = np.arange(9) - 4.0
    angles = np.deg2rad([1.0, 179.0, 90.0])
    waves = [np.cos(0.8 * np.pi * (x * np.sin(a) + x[:, None] * np.cos(a))) for a in angles]
    found = tuning_features(tuning(np.stack(waves)[:, None]))
    points = np.stack([found["orientation_cosine"], found["orientation_sine"]], axis=1)
    assert np.linalg.norm(points[0] - points[1]) < 0.15
    assert np.linalg.norm(points[0] - points[2]) > 1.0


def test_a_unit_that_is_zero_has_no_extent() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 2, 5, 5))
    weights[1] = 0.0
    assert expanded_rows(weights).shape == (3, 50)
