from __future__ import annotations

import numpy as np

from weightatlas.branching.kernels.colour import colour_axes
from weightatlas.branching.kernels.noise import DRAWS, noise_axes, noise_fits, p_values


def test_nulls_are_ascending_shares_that_larger_kernels_lower() -> None:
    small, large = noise_fits(1, 5, 5), noise_fits(1, 7, 7)
    for null in (*small, *large):
        assert len(null) == DRAWS
        assert (np.diff(null) >= 0).all()
        assert null[0] > 0
        assert null[-1] < 1
    for first, second in zip(small, large, strict=True):
        assert np.median(second) < np.median(first)


def test_p_values_count_the_draw_itself() -> None:
    null = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(p_values(np.array([0.5, 0.4, 0.25, 0.0, np.nan]), null), [0.2, 0.4, 0.6, 1.0, np.nan])
    assert np.isnan(p_values(np.array([0.5]), np.array([np.nan]))).all()


def test_p_values_of_noise_are_uniform() -> None:
    kernels = np.random.default_rng(11).normal(size=(1000, 3, 5, 5))
    found = p_values(colour_axes(kernels).shares, noise_axes(3, 5, 5))
    for level in (0.05, 0.25, 0.5):
        assert abs(np.mean(found <= level) - level) < 4 * np.sqrt(level * (1 - level) * 2 / 1000)
