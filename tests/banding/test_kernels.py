from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import banding as slow
from weightatlas.banding.kernels import as_kernels, kernel_energies, kernel_symmetry, ratio


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 7), width=st.integers(1, 7))
def test_rows_columns_and_rest_make_up_the_whole(seed: int, height: int, width: int) -> None:
    kernels = np.random.default_rng(seed).normal(size=(3, 2, height, width))
    energies = kernel_energies(kernels)
    centred = kernels - kernels.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(energies.total, (centred**2).sum(axis=(2, 3)), atol=1e-9)
    np.testing.assert_allclose(energies.raw, (kernels**2).sum(axis=(2, 3)))
    assert (energies.rows + energies.columns <= energies.total + 1e-9).all()
    np.testing.assert_allclose(energies.row_profile.sum(), (kernels**2).sum())
    np.testing.assert_allclose(energies.column_profile.sum(), (kernels**2).sum())


def test_halves_leave_out_the_middle() -> None:
    kernel = np.zeros((1, 1, 3, 3))
    kernel[0, 0, 1] = 5.0
    kernel[0, 0, 0, 0] = 2.0
    energies = kernel_energies(kernel)
    assert energies.above[0, 0] == 4.0
    assert energies.left[0, 0] == 4.0 + 25.0 - 25.0


def test_halves_of_even_kernels_have_no_middle() -> None:
    kernel = np.array([[[[1.0, 0.0], [0.0, 0.0]]]])
    energies = kernel_energies(kernel)
    assert energies.above[0, 0] == energies.left[0, 0] == 1.0


@pytest.mark.parametrize("side", [2, 3, 5])
def test_kernel_symmetry_is_the_definition(side: int) -> None:
    kernel = np.random.default_rng(side).normal(size=(side, side))
    assert kernel_symmetry(kernel) == pytest.approx(slow.kernel_symmetry(kernel), abs=1e-12)


def test_kernel_symmetry_of_a_band_lies_between() -> None:
    band = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert 0.2 < kernel_symmetry(band) < 0.6
    assert np.isnan(kernel_symmetry(np.zeros((3, 3))))
    assert np.isnan(kernel_symmetry(np.ones((1, 3))))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_floating_dtype_is_read(dtype: torch.dtype) -> None:
    weight = torch.arange(36.0).reshape(2, 2, 3, 3).to(dtype)
    np.testing.assert_allclose(as_kernels(weight), weight.double().numpy())


def test_strided_weights_are_read_right() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).transpose(3, 2, 0, 1)
    np.testing.assert_allclose(kernel_energies(weight).total, kernel_energies(weight.copy()).total)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros((3, 3)), "shape"),
        (np.zeros((0, 3, 3, 3)), "no elements"),
        (np.full((1, 1, 3, 3), np.nan), "NaN"),
        (np.full((1, 1, 3, 3), np.inf), "infinite"),
        (np.zeros((1, 1, 3, 3), dtype=complex), "real"),
        (np.full((1, 1, 3, 3), "x"), "real"),
    ],
)
def test_what_is_no_kernel_is_refused(weight: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_kernels(weight)


def test_a_feature_map_unfolds_a_matrix_channel_first() -> None:
    matrix = np.arange(24.0).reshape(1, 24)
    assert as_kernels(matrix, feature_map=(2, 3, 4))[0, 1, 2, 3] == 23.0
    with pytest.raises(ValueError, match="does not read"):
        as_kernels(matrix, feature_map=(2, 3, 5))


def test_a_share_of_nothing_is_unknown() -> None:
    np.testing.assert_array_equal(ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])), [0.5, np.nan])
