from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import unit_tuning as slow
from weightatlas.branching.kernels.colour import chroma, colour_axes, colour_gap


def random_kernels(seed: int = 0, shape: tuple[int, ...] = (6, 3, 4, 5)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def turned_about_grey(degrees: float) -> np.ndarray:
    """Rotation of (red, green, blue) about the grey axis, by Rodrigues' formula."""
    axis = np.full(3, 1 / math.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = math.radians(degrees)
    return math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * np.outer(axis, axis)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), channels=st.sampled_from([1, 3]))
def test_chroma_is_the_definition(seed: int, channels: int) -> None:
    kernels = random_kernels(seed, (3, channels, 3, 4))
    np.testing.assert_allclose(chroma(kernels), [slow.chroma(kernel) for kernel in kernels], atol=1e-12)


def test_grey_has_no_chroma_and_isoluminant_colour_has_nothing_else() -> None:
    pattern = random_kernels(shape=(1, 1, 5, 5))
    grey, colour = np.ones((1, 3, 1, 1)), np.array([1.0, 0.5, -1.5]).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(chroma(np.concatenate([pattern * grey, pattern * colour])), [0, 1], atol=1e-12)


def test_at_the_threshold_colour_has_a_quarter_of_the_energy_of_luminance() -> None:
    grey, colour = np.ones(3) / math.sqrt(3), np.array([1, -1, 0]) / math.sqrt(2)
    mixed = (2 * grey + colour).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(chroma(mixed), 0.2)


@pytest.mark.parametrize("degrees", [30, 117, 180])
def test_turning_hues_leaves_chroma(degrees: float) -> None:
    kernels = random_kernels()
    turned = np.einsum("ij,ujyx->uiyx", turned_about_grey(degrees), kernels)
    np.testing.assert_allclose(chroma(turned), chroma(kernels))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_colour_axis_is_the_leading_singular_pair(seed: int) -> None:
    kernels = random_kernels(seed)
    found = colour_axes(kernels)
    for unit, kernel in enumerate(kernels):
        pattern, share = slow.leading_map(kernel)
        assert found.shares[unit] == pytest.approx(share)
        np.testing.assert_allclose(np.abs(found.maps[unit]), np.abs(pattern), atol=1e-9)
    np.testing.assert_allclose((found.axes**2).sum(axis=1), 1)
    assert (found.axes.sum(axis=1) > 0).all()


def test_the_sign_of_a_kernel_turns_its_map_and_not_its_axis() -> None:
    pattern = random_kernels(shape=(4, 1, 5, 5))
    opponent = pattern * np.array([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1)
    kernels = np.concatenate([random_kernels(shape=(4, 3, 5, 5)), opponent])
    found, turned = colour_axes(kernels), colour_axes(-kernels)
    np.testing.assert_allclose(turned.axes, found.axes)
    np.testing.assert_allclose(turned.maps, -found.maps)


def test_a_gap_is_where_no_unit_stands() -> None:
    gap = colour_gap(np.array([0.05, 0.3, np.nan, 0.12, 0.9]))
    assert (gap.below, gap.above) == (0.12, 0.3)
    assert math.isnan(gap.p_value)  # four units are too few for a density


@pytest.mark.parametrize("values", [[], [np.nan], [0.1] * 20, [0.9] * 20])
def test_without_two_sides_there_is_no_gap(values: list[float]) -> None:
    gap = colour_gap(np.array(values))
    assert math.isnan(gap.p_value)
    assert math.isnan(gap.below) or math.isnan(gap.above)


@pytest.mark.parametrize("shapes", [(1.0, 1.0), (0.6, 0.6), (1.0, 3.0)])
def test_a_continuum_is_called_split_in_one_case_of_twenty(shapes: tuple[float, float]) -> None:
    generator = np.random.default_rng(1)
    p_values = np.array([colour_gap(generator.beta(*shapes, size=64)).p_value for _ in range(600)])
    rejected = np.mean(p_values[np.isfinite(p_values)] <= 0.05)
    assert 0.015 < rejected < 0.08


def test_two_groups_are_called_split() -> None:
    generator = np.random.default_rng(2)
    found = [
        colour_gap(np.r_[generator.uniform(0, 0.08, 35), generator.uniform(0.45, 1, 29)]).p_value for _ in range(100)
    ]
    assert np.mean(np.array(found) <= 0.05) > 0.9
