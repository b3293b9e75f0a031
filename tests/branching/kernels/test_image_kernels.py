from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.branching.kernels.image_kernels import CONSTANT, NOT_FINITE, ZERO, image_kernels


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8])
def test_any_real_dtype_is_widened(dtype: torch.dtype) -> None:
    values = torch.arange(-12, 12).reshape(2, 3, 2, 2).to(dtype)
    read = image_kernels(values.requires_grad_() if dtype.is_floating_point else values)
    assert read.kernels.dtype == np.float64
    np.testing.assert_allclose(read.scales, [12, 11])
    np.testing.assert_allclose(read.kernels * read.scales[:, None, None, None], values.detach().double().numpy())


def test_a_view_with_other_strides_is_read_as_it_stands() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 7, 3, 4))
    read = image_kernels(weight.transpose(3, 2, 0, 1))
    np.testing.assert_allclose(
        read.kernels * read.scales[:, None, None, None], np.ascontiguousarray(weight.transpose(3, 2, 0, 1))
    )


def test_units_that_cannot_be_measured_are_told_with_their_reason() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 3, 3, 3))
    weight[0, 1, 2, 2] = np.nan
    weight[2] = 0.0
    weight[3] = -0.3
    weight[5, 0, 0, 0] = -np.inf
    read = image_kernels(weight)
    assert read.skipped == {0: NOT_FINITE, 2: ZERO, 3: CONSTANT, 5: NOT_FINITE}
    assert read.measured.tolist() == [1, 4]
    assert not read.kernels[[0, 2, 3, 5]].any()


def test_one_colour_over_all_pixels_is_measured() -> None:
    weight = np.ones((1, 3, 3, 3)) * np.array([1.0, -0.5, -0.5])[:, None, None]
    assert image_kernels(weight).skipped == {}


def test_tiny_and_huge_weights_keep_their_shape() -> None:
    weight = np.random.default_rng(0).normal(size=(2, 1, 3, 3))
    expected = image_kernels(weight).kernels
    for scale in (1e-300, 1e300):
        np.testing.assert_allclose(image_kernels(weight * scale).kernels, expected)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones((4, 64, 3, 3)), "expanded weights"),
        (np.ones((4, 3, 3)), "shape"),
        (np.ones((0, 3, 3, 3)), "no elements"),
        (np.ones((4, 3, 3, 3), dtype=np.complex64), "real numbers"),
        (np.ones((4, 3, 3, 3), dtype=bool), "real numbers"),
    ],
)
def test_other_weights_are_refused_with_what_to_do(weight: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_kernels(weight)
