from __future__ import annotations

import math

import pytest
import torch

from weightatlas.nn import L2Pool2d


def windows_one_by_one(features: torch.Tensor, size: int, epsilon: float) -> torch.Tensor:
    images, channels, height, width = features.shape
    pooled = torch.empty(images, channels, height // size, width // size)
    for image in range(images):
        for channel in range(channels):
            for row in range(height // size):
                for column in range(width // size):
                    window = features[
                        image, channel, row * size : (row + 1) * size, column * size : (column + 1) * size
                    ]
                    mean = sum(float(value) ** 2 for value in window.flatten()) / size**2
                    pooled[image, channel, row, column] = math.sqrt(mean + epsilon)
    return pooled


@pytest.mark.parametrize("size", [1, 2, 3])
def test_it_is_the_root_mean_square_of_each_whole_window(size: int) -> None:
    features = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(1))
    expected = windows_one_by_one(features, size, 1e-3)
    torch.testing.assert_close(L2Pool2d(size, epsilon=1e-3)(features), expected)


def test_signs_do_not_matter_and_scale_passes_through() -> None:
    features = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    pool = L2Pool2d(epsilon=1e-12)
    torch.testing.assert_close(pool(-features), pool(features))
    torch.testing.assert_close(pool(3 * features), 3 * pool(features))


def test_turning_the_map_turns_the_answer() -> None:
    features = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(3))
    pool = L2Pool2d()
    torch.testing.assert_close(pool(features.rot90(1, (2, 3))), pool(features).rot90(1, (2, 3)))


def test_a_window_of_zeros_has_a_finite_gradient() -> None:
    features = torch.zeros(1, 1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(L2Pool2d()(features).sum(), features)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(("size", "epsilon"), [(0, 1e-6), (-2, 1e-6), (2, 0.0)])
def test_bad_options_are_refused(size: int, epsilon: float) -> None:
    with pytest.raises(ValueError, match="size >= 1 and epsilon > 0"):
        L2Pool2d(size, epsilon=epsilon)


def test_in_half_precision_large_values_stay_finite() -> None:
    features = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)
    pooled = L2Pool2d()(features)
    assert pooled.dtype == torch.float16
    assert float(pooled) == 300
