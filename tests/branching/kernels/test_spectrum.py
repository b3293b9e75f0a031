from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import unit_tuning as slow
from weightatlas.branching.kernels.colour import colour_axes
from weightatlas.branching.kernels.spectrum import Spectrum, spectrum


def measured(kernels: np.ndarray) -> Spectrum:
    return spectrum(kernels, colour_axes(kernels).axes)


def apart(first: np.ndarray, second: np.ndarray | float, turn: float) -> np.ndarray:
    """Difference of two angles on a circle."""
    return np.abs((first - second + turn / 2) % turn - turn / 2)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 3]), width=st.sampled_from([3, 4, 7]))
def test_moments_are_sums_over_all_wave_vectors(seed: int, channels: int, width: int) -> None:
    kernels = np.random.default_rng(seed).normal(size=(2, channels, 3, width))
    found = measured(kernels)
    for unit, kernel in enumerate(kernels):
        orientation, selectivity, frequency = slow.spectral_moments(kernel)
        assert apart(found.orientation[unit : unit + 1], orientation, 180)[0] < 1e-6 / selectivity
        assert found.selectivity[unit] == pytest.approx(selectivity)
        assert found.frequency[unit] == pytest.approx(frequency)
        assert found.dc_share[unit] == pytest.approx(slow.dc_share(kernel))


@pytest.mark.parametrize(("side", "low", "high"), [(7, 0.1, 0.3), (11, 0.08, 0.4)])
def test_planted_stripes_have_their_orientation_within_two_degrees(side: int, low: float, high: float) -> None:
    angles = np.arange(0, 180, 9.0)
    for frequency in np.linspace(low, high, 5):
        kernels = np.stack(
            [
                slow.gabor_kernel(side, angle=angle, frequency=frequency, width=side / 5, phase=phase)
                for angle in angles
                for phase in (0, 60, 90)
            ]
        )[:, None]
        assert apart(measured(kernels).orientation, np.repeat(angles, 3), 180).max() < 2.0


def test_the_convention_is_counter_clockwise_from_lying_stripes() -> None:
    lying = np.zeros((7, 7))
    lying[3] = 1.0
    found = measured(np.stack([lying, lying.T, np.fliplr(np.eye(7)), np.eye(7)])[:, None])
    assert apart(found.orientation, np.array([0, 90, 45, 135]), 180).max() < 1e-9


def test_a_quarter_turn_adds_ninety_degrees_and_transposing_mirrors() -> None:
    kernels = np.random.default_rng(0).normal(size=(20, 3, 7, 7))
    found = measured(kernels)
    turned, mirrored = measured(np.rot90(kernels, axes=(2, 3))), measured(kernels.swapaxes(2, 3))
    assert apart(turned.orientation, found.orientation + 90, 180).max() < 1e-8
    assert apart(mirrored.orientation, 90 - found.orientation + 180, 180).max() < 1e-8
    for other in (turned, mirrored):
        np.testing.assert_allclose(other.selectivity, found.selectivity)
        np.testing.assert_allclose(other.frequency, found.frequency)
        np.testing.assert_allclose(other.peak_frequency, found.peak_frequency)


@pytest.mark.parametrize("phase", [0, 40, 90, 180, 300])
@pytest.mark.parametrize("angle", [0, 30, 90, 140])
def test_phase_is_that_of_the_wave_at_the_centre(phase: float, angle: float) -> None:
    kernel = slow.gabor_kernel(15, angle=angle, frequency=0.25, width=4.0, phase=phase)
    # The wave vector stands 90 degrees before the stripes here; where that is downwards, it is turned about.
    expected = phase if angle > 0 else -phase
    found = measured(kernel[None, None])
    assert apart(found.phase, expected, 360)[0] < 2.0
    assert found.peak_frequency[0] == pytest.approx(0.25, abs=0.02)


def test_the_other_sign_shifts_the_phase_by_half_a_turn() -> None:
    kernels = np.random.default_rng(3).normal(size=(30, 3, 7, 7))
    assert apart(measured(-kernels).phase, measured(kernels).phase + 180, 360).max() < 1e-8


def test_uniform_colour_is_all_dc_and_a_balanced_kernel_has_none() -> None:
    colour = np.ones((1, 3, 5, 5)) * np.array([1.0, -0.2, 0.4])[:, None, None]
    noise = np.random.default_rng(0).normal(size=(1, 3, 5, 5))
    balanced = noise - noise.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(measured(np.concatenate([colour, balanced])).dc_share, [1, 0], atol=1e-12)


def test_white_noise_has_the_mean_radius_of_the_square_and_no_orientation() -> None:
    found = measured(np.random.default_rng(0).normal(size=(400, 3, 9, 9)))
    assert found.frequency.mean() == pytest.approx((np.sqrt(2) + np.arcsinh(1)) / 6, abs=0.003)
    assert abs(np.mean(found.selectivity * np.exp(2j * np.radians(found.orientation)))) < 0.02


def test_orientation_stays_below_half_a_turn() -> None:
    lying = np.zeros((40, 1, 7, 7))
    lying[:, 0, 3] = 1.0
    lying += 1e-17 * np.random.default_rng(0).normal(size=lying.shape)
    found = measured(lying)
    assert ((found.orientation >= 0) & (found.orientation < 180)).all()
