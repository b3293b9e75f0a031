from __future__ import annotations

import numpy as np
import pytest

from tests.reference import unit_tuning as slow
from weightatlas.branching.kernels.gabor import GaborFits, GaborModel, fit_gabors


def planted(side: int, count: int, seed: int = 0, *, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Gabors off the centre with unequal widths; parameters as `slow.gabor` takes them."""
    generator = np.random.default_rng(seed)
    parameters = np.stack(
        [
            generator.uniform(-0.15 * side, 0.15 * side, count),
            generator.uniform(-0.15 * side, 0.15 * side, count),
            generator.uniform(-np.pi / 2, np.pi / 2, count),
            generator.uniform(1.0 / side, 0.36, count),
            generator.uniform(0.16 * side, 0.28 * side, count),
            generator.uniform(0.16 * side, 0.28 * side, count),
            generator.uniform(0.5, 2.0, count),
            generator.uniform(0, 2 * np.pi, count),
        ],
        axis=1,
    )
    kernels = np.stack([slow.gabor(slow.pixel_grid(side, side), *row).reshape(side, side) for row in parameters])
    spread = kernels.std(axis=(1, 2), keepdims=True)
    return kernels + noise * spread * generator.normal(size=kernels.shape), parameters


def as_parameters(found: GaborFits) -> np.ndarray:
    return np.stack(
        [
            found.x,
            found.y,
            np.radians(found.orientation - 90),
            found.frequency,
            found.width,
            found.length,
            found.amplitude,
            np.radians(found.phase),
        ],
        axis=1,
    )


@pytest.mark.parametrize("side", [7, 11, 16])
def test_planted_gabors_are_recovered(side: int) -> None:
    kernels, parameters = planted(side, 60)
    found = fit_gabors(kernels)
    assert (found.explained > 0.9999).all()
    turned = np.abs((found.orientation - np.degrees(parameters[:, 2]) - 90 + 90) % 180 - 90)
    assert turned.max() < 2.0
    np.testing.assert_allclose(found.frequency, parameters[:, 3], rtol=0.03)


def test_noise_of_a_tenth_moves_orientation_and_frequency_little() -> None:
    kernels, parameters = planted(11, 100, noise=0.1)
    found = fit_gabors(kernels)
    turned = np.abs((found.orientation - np.degrees(parameters[:, 2])) % 180 - 90)
    assert np.quantile(turned, 0.95) < 2.0
    assert np.quantile(np.abs(found.frequency / parameters[:, 3] - 1), 0.95) < 0.03


def test_the_parameters_draw_the_kernel_again() -> None:
    kernels, _ = planted(9, 40)
    found = fit_gabors(kernels)
    drawn = [slow.gabor(slow.pixel_grid(9, 9), *row).reshape(9, 9) for row in as_parameters(found)]
    np.testing.assert_allclose(drawn, kernels, atol=0.02 * np.abs(kernels).max())


def test_the_phase_is_told_of_a_wave_that_points_right_or_up() -> None:
    kernels, _ = planted(11, 60, seed=4)
    found = fit_gabors(kernels)
    assert ((found.phase >= 0) & (found.phase < 360)).all()
    assert ((found.orientation >= 0) & (found.orientation < 180)).all()
    turned = fit_gabors(-kernels)
    apart = np.abs((turned.phase - found.phase) % 360 - 180)
    assert np.median(apart) < 1e-3


def test_noisy_gabors_are_fitted_as_well_as_by_scipy_from_many_starts() -> None:
    kernels, _ = planted(7, 4, seed=3, noise=0.6)
    expected = np.array([slow.best_gabor(kernel) for kernel in kernels])
    assert (expected < 0.9).all()
    assert (fit_gabors(kernels).explained >= expected - 0.005).all()


def test_noise_is_nearly_fitted_as_well_as_by_scipy_from_many_starts() -> None:
    kernels = np.random.default_rng(7).normal(size=(3, 7, 7))
    expected = np.array([slow.best_gabor(kernel, angles=4) for kernel in kernels])
    assert fit_gabors(kernels).explained.mean() >= expected.mean() - 0.03


def test_slopes_are_differences() -> None:
    model = GaborModel(7, 6)
    generator = np.random.default_rng(0)
    parameters = np.array([[0.3, -0.4, 0.7, 0.2, 0.4, 0.6], [-1.0, 0.2, 3.0, 0.1, 0.9, 0.2]])
    coefficients = generator.normal(size=(2, 2))
    slopes = model.slopes(parameters, model.basis(parameters), coefficients)
    for index in range(6):
        step = np.zeros(6)
        step[index] = 1e-6
        ahead, behind = (
            np.einsum("nb,nbx->nx", coefficients, model.basis(parameters + sign * step)) for sign in (1, -1)
        )
        np.testing.assert_allclose(slopes[:, index], (ahead - behind) / 2e-6, atol=1e-7)


def test_a_blob_is_no_bandpass_and_an_edge_is() -> None:
    blob = slow.gabor_kernel(9, angle=0, frequency=0.02, width=2.0, phase=0)
    edge = slow.gabor_kernel(9, angle=0, frequency=0.08, width=2.0, phase=90)
    assert fit_gabors(np.stack([blob, edge])).bandpass.tolist() == [False, True]
